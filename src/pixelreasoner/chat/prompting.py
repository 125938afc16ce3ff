"""From a task to the messages a model is prompted with."""

from __future__ import annotations

from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.core.messages import Message
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Trajectory


def task_messages(task: Task, chat_format: ChatFormat, *, tools: bool) -> tuple[Message, ...]:
    """The system message, and the task's media with its question and the guideline.

    `tools` says whether operations are offered: the guideline differs.
    """
    guideline = chat_format.guideline if tools else chat_format.guideline_without_tools
    user = Message("user", (*task.media, task.question + guideline))
    return (Message("system", (chat_format.system,)), user) if chat_format.system else (user,)


def trajectory_messages(trajectory: Trajectory) -> tuple[Message, ...]:
    """What followed the prompt, to go on from: the model's messages and the results that it read.

    A last result that did not fit is left out, since the model never saw it.
    """
    out: list[Message] = []
    for turn, seen in zip(trajectory.turns, trajectory.read_observations, strict=True):
        out.append(Message("assistant", (turn.text,)))
        if seen is not None:
            out.append(Message("tool", (seen.text, *seen.images)))
    return tuple(out)
