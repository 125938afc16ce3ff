"""Whole conversations as each family's own template and processor give them: the tokens and the grids.

Ours differ on purpose in two things, and an option of the chat format gives theirs: `video_brackets` the pair
of brackets around a video, `crop` the size of what an operation returned. The template of Qwen2.5-VL drops
tools, and gives their results no role: it is compared without them, and with results as messages of the user.
Control tokens in somebody's words are words here, and are obeyed there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conversation_generator import Generator
from pixelreasoner.chat.qwen import QwenVLRenderer
from pixelreasoner.core.media import Media, Picture
from pixelreasoner.core.messages import Message
from released_files import released_template

TEMPLATES = {"qwen25": "qwen2_5_vl", "qwen3": "qwen3_vl", "qwen35": "qwen3_5_think"}
FAMILIES = list(TEMPLATES)


@pytest.fixture(params=FAMILIES)
def family(request) -> str:
    return request.param


@pytest.fixture
def own_renderer(family, request, load_model) -> QwenVLRenderer:
    return load_model(request.getfixturevalue(f"{family}_folder")).renderer


@pytest.fixture
def theirs(processor) -> Callable[..., dict[str, Any]]:
    """What transformers makes of a conversation: token ids and grids."""
    from transformers.video_utils import VideoMetadata

    def read(
        renderer: QwenVLRenderer, history: Sequence[Message], tools: Sequence[Any], **options: Any
    ) -> dict:
        built = processor(renderer)
        messages = [as_template_takes_it(m, renderer.chat_format.observation_role) for m in history]
        markup = built.apply_chat_template(
            messages, tools=list(tools) or None, add_generation_prompt=True, **options
        )
        media: list[Media] = [part for m in history for part in m.parts if not isinstance(part, str)]
        videos = [m for m in media if not isinstance(m, Picture)]
        return dict(
            built(
                text=[markup],
                images=[Image.fromarray(m.pixels) for m in media if isinstance(m, Picture)] or None,
                videos=[np.stack([f.pixels for f in v.frames]) for v in videos] or None,
                video_metadata=[
                    VideoMetadata(
                        total_num_frames=len(v.frames), fps=1 / (v.times_s[1] - v.times_s[0]),
                        frames_indices=list(range(len(v.frames))),
                    )
                    for v in videos
                ],
            )
        )  # fmt: skip

    return read


def as_template_takes_it(message: Message, role: str) -> dict[str, Any]:
    if message.role in ("system", "assistant"):
        return {"role": message.role, "content": message.text}
    content = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image" if isinstance(part, Picture) else "video"}
        for part in message.parts
    ]
    return {"role": role if message.role == "tool" else message.role, "content": content}


def compare(renderer: QwenVLRenderer, theirs, tools, n: int, *, thoughts: bool, **options: Any) -> None:
    generator = Generator(7, renderer.family.syntax.format, thoughts=thoughts)
    n_results = n_videos = 0
    for i, history in enumerate(generator.take(n)):
        offered = tools if i % 3 else ()
        ours = renderer.layout([renderer.prompt(history, offered)])
        expected = theirs(renderer, history, offered, **options)
        assert ours.ids_T.tolist() == list(expected["input_ids"][0]), renderer.decode(ours.ids_T.tolist())
        grids = [b.grid_thw for b in ours.blocks if b.kind == "image"]
        assert grids == [tuple(grid) for grid in expected.get("image_grid_thw", ())]
        n_results += any(m.role == "tool" for m in history)
        n_videos += any(b.kind == "video" for b in ours.blocks)
    assert n_results > n / 4
    assert n_videos > n / 8


@pytest.mark.parametrize("thinking", [None, "on", "off"])
def test_with_a_template_like_the_familys(
    family, own_renderer, theirs, tools, with_template, json_template, xml_template, thinking
):
    if family != "qwen35" and thinking is not None:
        pytest.skip("its template has no switch")
    thinks = family == "qwen35"
    renderer = with_template(
        own_renderer, template=xml_template if thinks else json_template, thinking=thinking,
        observation_role="tool", video_brackets=True, crop=own_renderer.chat_format.image,
    )  # fmt: skip
    options = {} if thinking is None else {"enable_thinking": thinking == "on"}
    compare(renderer, theirs, tools, 40, thoughts=thinks, **options)


@pytest.mark.slow
def test_with_the_released_template(family, own_renderer, theirs, tools, with_template):
    renderer = with_template(
        own_renderer, template=released_template(f"{TEMPLATES[family]}.jinja"),
        observation_role="user" if family == "qwen25" else "tool", video_brackets=True,
        crop=own_renderer.chat_format.image,
    )  # fmt: skip
    compare(renderer, theirs, () if family == "qwen25" else tools, 200, thoughts=family == "qwen35")


@pytest.mark.slow
@pytest.mark.parametrize("thinking", ["on", "off"])
@pytest.mark.parametrize("default", ["think", "nothink"])
def test_the_switch_of_the_released_template(
    qwen35_folder, load_model, theirs, tools, with_template, thinking, default
):
    own = load_model(qwen35_folder).renderer
    renderer = with_template(
        own, template=released_template(f"qwen3_5_{default}.jinja"), thinking=thinking,
        observation_role="tool", video_brackets=True, crop=own.chat_format.image,
    )  # fmt: skip
    compare(renderer, theirs, tools, 60, thoughts=True, enable_thinking=thinking == "on")
