"""Synthetic conversations as rows of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pixelreasoner.chat.layout import Layout
from pixelreasoner.chat.prompting import task_messages
from pixelreasoner.chat.renderer import ToolSchema
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.nano.conversations import SyntheticConversation


def conversation_row(
    conversation: SyntheticConversation, model: VisionLanguageModel, tools: Sequence[ToolSchema]
) -> tuple[Layout, npt.NDArray[np.bool_]]:
    """Return the layout of a conversation and its loss mask: answers are trained on, questions are not."""
    renderer = model.renderer
    segments: list[Segment] = []
    mask: list[bool] = []
    for index, e in enumerate(conversation.pairs):
        if index == 0:
            messages = task_messages(
                Task("conversation", e.question, e.media, ()), renderer.chat_format, tools=bool(tools)
            )
            asked = renderer.prompt(messages, tools)
        else:  # later questions take the place of tool results, with their pictures
            asked = renderer.observation(Observation(e.question, e.media))  # type: ignore[arg-type]
        answer = Segment(renderer.encode(e.answer))
        segments += [asked, answer]
        mask += [False] * len(asked.ids) + [True] * len(answer.ids)
    return renderer.layout(segments), np.array(mask)
