"""What is Qwen2.5-VL's own; the rest of its prompt is tested beside Qwen3-VL's."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixelreasoner.chat.families import QWEN2_5_VL
from pixelreasoner.chat.qwen import QwenVLRenderer
from pixelreasoner.core.geometry import Size, Unit
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Segment
from prompting import prompt_of


@pytest.fixture
def renderer(qwen25_folder, load_model) -> QwenVLRenderer:
    return load_model(qwen25_folder).renderer


def task(*media) -> Task:
    return Task("t", "What is it?", media, ("K",))


def test_boxes_are_in_pixels_of_the_image_as_shown(renderer, picture):
    assert renderer.vision.unit == Unit.PIXEL
    assert renderer.vision.size_of(picture(100, 50), crop=False) == Size(64, 32)


def test_normalisation_is_the_checkpoints(renderer):
    assert renderer.vision.normalization == ((0.48, 0.46, 0.41), (0.27, 0.26, 0.28))


def test_normalisation_is_clips_where_the_checkpoint_does_not_say():
    from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

    assert QWEN2_5_VL.normalization == (tuple(OPENAI_CLIP_MEAN), tuple(OPENAI_CLIP_STD))


class TestTemplateThatKnowsNoTools:
    def test_tools_are_written_into_the_system_message(self, renderer, tools):
        text = renderer.decode(prompt_of(renderer, task(), tools).ids)
        system = text.split("<|im_start|>")[1]
        assert system.startswith("system\nYou are a helpful assistant.\n\n# Tools")
        assert '<tools>\n{"type": "function", "function": {"name": "crop_image"' in system
        assert '{"name": <name>, "arguments": <arguments>}' in system

    def test_even_without_a_system_message(self, renderer, tools, with_template):
        text = prompt_of(with_template(renderer, system=""), task(), tools)
        assert renderer.decode(text.ids).startswith("<|im_start|>system\n# Tools")

    def test_in_the_words_of_the_chat_format(self, renderer, tools, with_template):
        changed = with_template(renderer, tools=" You have: {tools} {ok}")
        assert 'You have: {"type"' in changed.decode(prompt_of(changed, task(), tools).ids)

    def test_not_when_none_are_offered(self, renderer):
        assert "# Tools" not in renderer.decode(prompt_of(renderer, task(), ()).ids)

    def test_not_twice(self, renderer, tools, with_template, json_template):
        changed = with_template(renderer, template=json_template)
        assert "# Tools" not in changed.decode(prompt_of(changed, task(), tools).ids)


class TestVideo:
    def test_is_one_placeholder(self, renderer, video):
        segment = prompt_of(renderer, task(video(5)), ())
        assert segment.ids.count(renderer.video_id) == 1
        assert "seconds>" not in renderer.decode(segment.ids)

    def test_is_one_block_its_last_frame_repeated(self, renderer, video):
        clip = video(5)
        (block,) = renderer.blocks(clip, crop=False)
        assert (block.grid_thw, block.n_tokens, len(block.frames)) == ((3, 4, 6), 3 * 2 * 3, 6)
        assert np.array_equal(block.frames[4], block.frames[5])

    @pytest.mark.parametrize(("fps", "step"), [(2.0, 2.0), (0.5, 8.0), (4.0, 1.0)])
    def test_a_second_is_so_many_positions(self, renderer, video, fps, step):
        """2 tokens per second, 2 frames per temporal patch: at 2 frames per second, 2 positions a patch."""
        (block,) = renderer.blocks(video(6, fps=fps), crop=False)
        assert block.time_step == pytest.approx(step)

    def test_a_single_frame(self, renderer, video):
        row = renderer.layout([prompt_of(renderer, task(video(1)), ())])
        assert row.blocks[0].grid_thw == (1, 4, 6)
        assert len(set(row.position_3T[0][row.kind_T == 2].tolist())) == 1

    def test_sampling_goes_on_where_training_does(self, renderer, video):
        """A long video is past its own time span for the sampler and, a turn later, for the trainer."""
        prompt = prompt_of(renderer, task(video(12, fps=0.5)), ())
        said = Segment(renderer.encode("It is K."))
        alone, whole = renderer.layout([prompt]), renderer.layout([prompt, said])
        assert whole.position_3T[0, len(alone)] == alone.next_position


def rope_index(model, layout, seconds) -> list:
    grids = {kind: [list(b.grid_thw) for b in layout.blocks if b.kind == kind] for kind in ("image", "video")}
    position, _ = model.hf.model.get_rope_index(
        torch.from_numpy(layout.ids_T)[None],
        mm_token_type_ids=torch.from_numpy(layout.kind_T.astype(np.int64))[None],
        second_per_grid_ts=seconds,
        **{f"{k}_grid_thw": torch.tensor(g) if g else None for k, g in grids.items()},
    )
    return position[:, 0].tolist()


def trained_positions(layout, merge) -> list:
    """The rule of the Qwen2-VL paper, and of transformers up to 5.2, spelled out token by token."""
    out, at, blocks = [], 0, iter(layout.blocks)
    while at < len(layout):
        start = 1 + max((max(p) for p in out), default=-1)
        if layout.kind_T[at] == 0:
            out.append((start,) * 3)
            at += 1
            continue
        block = next(blocks)
        t, h, w = block.grid_thw
        out += [
            (start + int(np.float32(i) * np.float32(block.time_step)), start + y, start + x)
            for i in range(t) for y in range(h // merge) for x in range(w // merge)
        ]  # fmt: skip
        at += block.n_tokens
    return np.array(out).T.tolist()


SIDES = st.integers(1, 60)
IMAGES = st.tuples(SIDES, SIDES)
VIDEOS = st.tuples(st.integers(1, 9), SIDES, SIDES, st.one_of(st.floats(0.2, 4.0), st.floats(4.0, 40.0)))


def noise(width, height) -> Picture:
    return Picture(np.zeros((height, width, 3), dtype=np.uint8))


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(st.one_of(st.integers(1, 5), IMAGES, VIDEOS), min_size=1, max_size=6))
def test_positions_are_those_of_transformers(qwen25_folder, load_model, items):
    """Exactly, wherever a video's time span is within its sides; beyond, they are those of training."""
    model = load_model(qwen25_folder)
    renderer = model.renderer
    start, end = (renderer.codec.control_id(token) for token in ("<|vision_start|>", "<|vision_end|>"))
    ids, media = [], []
    for item in items:
        if isinstance(item, int):
            ids += [50] * item
        elif len(item) == 2:
            ids += [start, renderer.image_id, end]
            media.append(noise(*item))
        else:
            n, width, height, fps = item
            ids += [start, renderer.video_id, end]
            media.append(Video((noise(width, height),) * n, tuple(i / fps for i in range(n))))
    layout = renderer.layout([Segment(tuple(ids), tuple(media))])
    assert layout.position_3T.tolist() == trained_positions(layout, renderer.vision.merge)

    videos = [b for b in layout.blocks if b.kind == "video"]
    if all(
        int((b.grid_thw[0] - 1) * b.time_step) < max(b.grid_thw[1:]) // renderer.vision.merge for b in videos
    ):
        assert layout.position_3T.tolist() == rope_index(model, layout, [b.time_step / 2 for b in videos])
