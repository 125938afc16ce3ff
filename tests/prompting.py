"""The prompt of a task, as a rollout renders it."""

from __future__ import annotations

from collections.abc import Sequence

from pixelreasoner.chat.prompting import task_messages
from pixelreasoner.chat.renderer import Renderer, ToolSchema
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Segment


def prompt_of(renderer: Renderer, task: Task, tools: Sequence[ToolSchema]) -> Segment:
    return renderer.prompt(task_messages(task, renderer.chat_format, tools=bool(tools)), tools)
