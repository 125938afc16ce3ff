"""Finding the chat template that writes images, wherever a checkpoint keeps it.

Released Qwen2.5-VL has two: a text-only one in tokenizer_config.json, which AutoTokenizer reads, and the one
for images in chat_template.json, which only AutoProcessor does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from pixelreasoner.chat.families import read_json
from pixelreasoner.core.errors import CheckpointError

TOKENIZER_CONFIG = "tokenizer_config.json"
_JSON_FILES = ("chat_template.json", "processor_config.json")


def find_template(folder: Path, tokenizer: Any, image_markup: str) -> str:
    """The first template of a checkpoint that writes `image_markup` for an image.

    Raises:
        CheckpointError: none of them does.
    """
    tried: list[str] = []
    for place, template in _templates(folder, tokenizer):
        tried.append(place)
        if _writes_images(tokenizer, template, image_markup):
            return template
    places = f"those in {', '.join(dict.fromkeys(tried))} do not" if tried else "there is none"
    raise CheckpointError(
        f"{folder}: no chat template writes images ({places}); put the checkpoint's multimodal template "
        f"beside it as chat_template.jinja"
    )


def _templates(folder: Path, tokenizer: Any) -> Iterator[tuple[str, str]]:
    """Where a template may be, and what is there."""
    path = folder / "chat_template.jinja"
    if path.exists():
        yield path.name, path.read_text(encoding="utf-8")
    for name in _JSON_FILES:
        path = folder / name
        if path.exists():
            template = read_json(path).get("chat_template")
            if isinstance(template, str):
                yield name, template
    own = tokenizer.chat_template
    named: list[Any] = list(own.values()) if isinstance(own, dict) else [own]
    path = folder / TOKENIZER_CONFIG
    if path.exists():
        # Where chat_template.jinja lies beside it, the tokenizer does not read this one.
        named.append(read_json(path).get("chat_template"))
    for template in named:
        if isinstance(template, str):
            yield TOKENIZER_CONFIG, template


def _writes_images(tokenizer: Any, template: str, image_markup: str) -> bool:
    content = [{"type": "image"}, {"type": "text", "text": "q"}]
    try:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], chat_template=template, tokenize=False
        )
    except (TemplateError, TypeError):
        # A text-only template adds the content, a list here, to a string.
        return False
    return image_markup in text


PROBE: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "probed_tool",
        "description": "",
        "parameters": {"type": "object", "properties": {}, "required": []},
    },
}
"""A tool that stands for any, to see what a template does with them."""


def find_tools_text(folder: Path, tokenizer: Any, start: str, end: str) -> str | None:
    """How another template of the checkpoint lists tools after a system message, as `ChatFormat.tools`.

    The template of Qwen2.5-VL that writes images drops tools; its text-only one has the words for them that
    the model was trained with. `start` and `end` are the control tokens around a message. None where no
    template lists tools as JSON.
    """
    mark, listed = "[[system]]", json.dumps(PROBE, ensure_ascii=False)
    messages = [{"role": "system", "content": mark}, {"role": "user", "content": "q"}]
    for _, template in _templates(folder, tokenizer):
        try:
            text = tokenizer.apply_chat_template(
                messages, tools=[PROBE], chat_template=template, tokenize=False
            )
        except (TemplateError, TypeError):
            continue
        system = text.partition(f"{start}system\n")[2].partition(end)[0]
        # The field of `ChatFormat.tools` must be the only one.
        if system.startswith(mark) and system.count(listed) == 1 and "{tools}" not in system:
            return system.removeprefix(mark).replace(listed, "{tools}")
    return None
