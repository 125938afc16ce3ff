"""What a checkpoint folder says of wording and pictures, without weights or tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from pixelreasoner.chat.chat_format import ChatFormat, PixelBudget, Wording
from pixelreasoner.chat.checkpoint_files import load_vision_spec, with_format
from pixelreasoner.chat.families import QWEN2_5_VL, QWEN3_VL, family_of
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.core.geometry import Unit
from pixelreasoner.core.media import Picture, Video

# As released: flat, and with a name of the patch side that later configs lack.
RELEASED_2_5 = {
    "model_type": "qwen2_5_vl",
    "hidden_size": 3584,
    "vision_config": {
        "patch_size": 14, "spatial_patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
        "tokens_per_second": 2, "in_chans": 3,
    },
}  # fmt: skip
RELEASED_3 = {
    "model_type": "qwen3_vl",
    "text_config": {"hidden_size": 4096},
    "vision_config": {"patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2},
}
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


@pytest.fixture
def write(tmp_path: Path):
    def write(**files: object) -> Path:
        for name, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / f"{name}.json").write_text(text)
        return tmp_path

    return write


def test_a_released_qwen2_5_vl(write):
    """Boxes in pixels of the shown image, tokens of 28 pixels, the budget of its own processor file."""
    folder = write(
        config=RELEASED_2_5,
        preprocessor_config={
            "min_pixels": 3136, "max_pixels": 12845056, "image_mean": MEAN, "image_std": STD,
        },
    )  # fmt: skip
    spec = load_vision_spec(folder)
    assert (spec.unit, spec.factor, spec.tokens_per_second) == (Unit.PIXEL, 28, 2.0)
    assert spec.image == spec.crop == PixelBudget(min_pixels=3136, max_pixels=12845056)
    assert spec.normalization == (tuple(MEAN), tuple(STD))


def test_a_released_qwen3_vl(write):
    folder = write(
        config=RELEASED_3,
        preprocessor_config={"size": {"shortest_edge": 65536, "longest_edge": 16777216}},
    )
    spec = load_vision_spec(folder)
    assert (spec.unit, spec.factor, spec.normalization) == (Unit.RELATIVE, 32, QWEN3_VL.normalization)
    assert spec.image == PixelBudget(min_pixels=65536, max_pixels=16777216)


@pytest.mark.parametrize("name", ["preprocessor_config", "processor_config"])
def test_settings_under_either_name(write, name):
    values = {"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3]}
    nested = {"image_processor": values} if name == "processor_config" else values
    spec = load_vision_spec(write(config=RELEASED_3, **{name: nested}))
    assert spec.normalization == ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))


def test_the_family_where_the_checkpoint_says_nothing(write):
    spec = load_vision_spec(write(config=RELEASED_2_5))
    assert (spec.image, spec.normalization) == (QWEN2_5_VL.image, QWEN2_5_VL.normalization)


def test_the_chat_format_goes_first(write):
    budget = PixelBudget(min_pixels=1000, max_pixels=2000)
    spec = load_vision_spec(
        write(
            config=RELEASED_2_5,
            preprocessor_config={"max_pixels": 99},
            chat_format=ChatFormat(unit=Unit.FRACTION, crop=budget).model_dump_json(),
        )
    )
    assert (spec.unit, spec.crop, spec.image.max_pixels) == (Unit.FRACTION, budget, 99)


def test_coordinates_tell_apart_what_numbers_mean(write):
    relative = load_vision_spec(write(config=RELEASED_3)).coordinates
    wide = load_vision_spec(write(config=RELEASED_2_5)).coordinates
    narrow = load_vision_spec(
        write(config=RELEASED_2_5, preprocessor_config={"max_pixels": 9999})
    ).coordinates
    assert len({relative, wide, narrow}) == 3


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("config", "{", "cannot be read"),
        ("config", "[]", "no JSON object"),
        ("config", '{"model_type": "llama"}', "'llama' model; supported: qwen3_vl, qwen2_5_vl"),
        ("config", '{"model_type": "qwen3_vl"}', "names no patch_size"),
        ("preprocessor_config", "[1]", "no JSON object"),
        ("preprocessor_config", '{"image_mean": [1, 2]}', "not three numbers"),
        ("preprocessor_config", '{"image_std": 3}', "not three numbers"),
        ("chat_format", '{"sytem": "typo"}', r"chat_format\.json is not a chat format file"),
    ],
)
def test_a_broken_file_is_named(write, file, text, message):
    folder = write(**{"config": RELEASED_3, file: text})
    with pytest.raises(CheckpointError, match=message):
        load_vision_spec(folder)


class TestChatFormatFile:
    def test_a_folder_of_ours_without_it_is_refused(self, tmp_path):
        ChatFormat().save(tmp_path)
        (tmp_path / "chat_format.json").unlink()
        with pytest.raises(CheckpointError, match=r"lacks its chat_format\.json"):
            ChatFormat.load(tmp_path)

    def test_a_foreign_folder_has_the_default(self, tmp_path):
        assert ChatFormat.load(tmp_path) == ChatFormat()

    def test_the_file_of_the_first_release_is_read(self, tmp_path):
        old = ChatFormat(system="Hello.").model_dump() | {"unit": "permille"}
        (tmp_path / "dialect.json").write_text(json.dumps(old, indent=2))
        assert ChatFormat.load(tmp_path) == ChatFormat(system="Hello.", unit=Unit.RELATIVE)

    def test_the_words_of_a_recipe(self):
        ours = ChatFormat(system="a", crop_reply="Image {index}:")
        assert ours.with_wording(Wording(system="")) == ChatFormat(system="", crop_reply="Image {index}:")

    def test_the_pixels_of_a_recipe(self, write):
        """A recipe's budgets are what pictures are shown at, and are saved with the checkpoint."""
        few = PixelBudget(min_pixels=28 * 28, max_pixels=2 * 28 * 28)
        format_ = ChatFormat().with_wording(Wording.model_validate({"image": few.model_dump()}))
        assert format_ == ChatFormat(image=few)
        folder = write(config=RELEASED_2_5)
        spec = with_format(load_vision_spec(folder), format_)
        photo = Picture(np.zeros((280, 560, 3), np.uint8))
        assert load_vision_spec(folder).n_tokens(photo, crop=False) == 200
        assert spec.n_tokens(photo, crop=False) == 2
        assert spec.crop == few
        format_.save(folder)
        assert ChatFormat.load(folder) == format_


def test_families_by_their_config(write):
    assert family_of(write(config=RELEASED_2_5)) is QWEN2_5_VL


SILENT = {"model_type": "qwen2_5_vl", "vision_config": {"patch_size": 14}}


class TestBudgets:
    SMALL: ClassVar = {"min_pixels": 1024, "max_pixels": 2048}

    def test_crops_follow_the_images_of_the_chat_format(self, write):
        """Not those of the processor file, which the chat format goes before."""
        preprocessor = {"min_pixels": 3136, "max_pixels": 12845056}
        folder = write(
            config=RELEASED_2_5, preprocessor_config=preprocessor, chat_format={"image": self.SMALL}
        )
        spec = load_vision_spec(folder)
        assert spec.image == spec.crop == PixelBudget(**self.SMALL)

    def test_a_limit_alone_moves_the_other_one(self, write):
        spec = load_vision_spec(write(config=RELEASED_2_5, preprocessor_config={"max_pixels": 99}))
        assert spec.image == PixelBudget(min_pixels=99, max_pixels=99)

    def test_the_whole_processor_file_goes_first_as_in_transformers(self, write):
        folder = write(
            config=RELEASED_3,
            preprocessor_config={"min_pixels": 1, "max_pixels": 2},
            processor_config={"image_processor": self.SMALL},
        )
        assert load_vision_spec(folder).image == PixelBudget(**self.SMALL)

    def test_a_processor_file_without_that_part_does_not(self, write):
        folder = write(
            config=RELEASED_3, preprocessor_config=self.SMALL, processor_config={"processor_class": "X"}
        )
        assert load_vision_spec(folder).image == PixelBudget(**self.SMALL)

    def test_positions_per_second_are_those_of_transformers_where_the_config_is_silent(self, write):
        from transformers import Qwen2_5_VLConfig

        spec = load_vision_spec(write(config=SILENT))
        assert spec.tokens_per_second == Qwen2_5_VLConfig().vision_config.tokens_per_second

    @pytest.mark.parametrize("text", [
        '{"min_pixels": "many"}', '{"size": 448}', '{"size": {"longest_edge": 1.5}}',
        '{"min_pixels": 9, "max_pixels": 8}', '{"max_pixels": -1}',
    ])  # fmt: skip
    def test_a_budget_that_is_none_is_refused(self, write, text):
        with pytest.raises(CheckpointError, match=r"preprocessor_config\.json: "):
            load_vision_spec(write(config=RELEASED_3, preprocessor_config=text))

    @pytest.mark.parametrize("change", [
        {"frame_marker": "{sec}"}, {"image": {"min_pixels": 0, "max_pixels": 0}},
        {"image": {"min_pixels": 9999, "max_pixels": 100}},
    ])  # fmt: skip
    def test_so_is_a_chat_format_that_makes_no_sense(self, write, change):
        """Case C27: when it is loaded."""
        with pytest.raises(CheckpointError, match=r"chat_format\.json"):
            load_vision_spec(write(config=RELEASED_3, chat_format=change))


class TestBudgetOfAVideo:
    RELEASED: ClassVar = {"size": {"shortest_edge": 4096, "longest_edge": 25165824}}

    @staticmethod
    def clip(n: int, width: int, height: int) -> Video:
        return Video((Picture(np.zeros((height, width, 3), np.uint8)),) * n)

    def test_qwen3_vl_counts_all_frames(self, write):
        """16 frames of 1920 x 1080: 33.4 million pixels at 1920 x 1088, to be at most 25.2 million."""
        spec = load_vision_spec(write(config=RELEASED_3, video_preprocessor_config=self.RELEASED))
        assert spec.all_frames == PixelBudget(min_pixels=4096, max_pixels=25165824)
        # Both sides times sqrt(25165824 / (16 * 1920 * 1080)) = 0.8709, then down to a multiple of 32.
        assert spec.frame_size(self.clip(16, 1920, 1080)) == (1664, 928)
        assert spec.frame_size(self.clip(4, 1920, 1080)) == (1920, 1088)

    def test_with_a_cap_per_frame(self, write):
        capped = {**self.RELEASED, "cap_pixels_per_frame": True, "max_video_tokens": 768}
        spec = load_vision_spec(write(config=RELEASED_3, video_preprocessor_config=capped))
        # 768 * 32 * 32 pixels: times 0.6158.
        assert spec.frame_size(self.clip(4, 1920, 1080)) == (1152, 640)
        # An even share of 64 frames is 393216 pixels: times 0.4355.
        assert spec.frame_size(self.clip(64, 1920, 1080)) == (832, 448)

    def test_qwen2_5_vl_counts_each_frame(self, write):
        own = {"min_pixels": 784, "max_pixels": 28 * 28 * 100}
        spec = load_vision_spec(write(config=RELEASED_2_5, video_preprocessor_config=own))
        assert (spec.video_frame, spec.all_frames) == (PixelBudget(**own), None)
        assert [spec.frame_size(self.clip(n, 560, 560)) for n in (2, 50)] == [(280, 280), (280, 280)]

    def test_the_chat_format_goes_first(self, write):
        frame = {"min_pixels": 1024, "max_pixels": 4096}
        folder = write(
            config=RELEASED_3, video_preprocessor_config=self.RELEASED, chat_format={"video_frame": frame}
        )
        spec = load_vision_spec(folder)
        assert (spec.video_frame, spec.all_frames) == (PixelBudget(**frame), None)
