"""Qwen3.5: thoughts, the switch for them, calls as tags, and what is never sampled."""

from __future__ import annotations

import copy

import pytest

from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.chat.families import QWEN3_5, family_of
from pixelreasoner.chat.qwen import QwenVLRenderer
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.core.geometry import Unit
from pixelreasoner.core.messages import Message, ToolCall
from pixelreasoner.core.trajectory import Observation, Segment

QUESTION = (Message("user", ("Which letter?",)),)
CALL = ToolCall("crop_image", {"bbox_2d": [0, 20, 990, 1000], "target_image": 1})
OPEN, CLOSED = "<|im_start|>assistant\n<think>\n", "<|im_start|>assistant\n<think>\n\n</think>\n\n"


@pytest.fixture
def renderer(qwen35_folder, load_model) -> QwenVLRenderer:
    return load_model(qwen35_folder).renderer


@pytest.fixture(params=["like the release", pytest.param("released", marks=pytest.mark.slow)])
def thinking(request, renderer, with_template):
    """The renderer with the switch set."""

    def made(switch: str | None, **changes) -> QwenVLRenderer:
        template = None
        if request.param == "released":
            from released_files import released_template

            template = released_template("qwen3_5_think.jinja")
        return with_template(renderer, template=template, thinking=switch, **changes)

    return made


def test_the_family(qwen35_folder, renderer):
    assert family_of(qwen35_folder) is QWEN3_5
    assert renderer.vision.unit is Unit.RELATIVE
    assert renderer.vision.factor == 8  # in this tiny one; 32 in the release
    assert (QWEN3_5.image.min_pixels, QWEN3_5.image.max_pixels) == (65536, 16777216)


def test_calls_are_tags_within_tags(renderer):
    text = f"Closer.\n{renderer.family.syntax.format(CALL)}"
    assert renderer.parse(renderer.decode(renderer.encode(text))).call == CALL
    tool = {
        "type": "function",
        "function": {"name": "f", "parameters": {"properties": {"x": {"type": "string"}}}},
    }
    said = "<tool_call>\n<function=f>\n<parameter=x>\n12\n</parameter>\n</function>\n</tool_call>"
    assert renderer.parse(said, [tool]).call == ToolCall("f", {"x": "12"})
    assert renderer.parse(said).call == ToolCall("f", {"x": 12})


class TestSwitch:
    @pytest.mark.parametrize(("switch", "opening"), [(None, OPEN), ("on", OPEN), ("off", CLOSED)])
    def test_how_the_models_message_is_opened(self, thinking, switch, opening):
        renderer = thinking(switch)
        assert renderer.decode(renderer.prompt(QUESTION, ()).ids).endswith(opening.replace("<|im_end|>", ""))
        after = renderer.decode(renderer.observation(Observation("Image 2:")).ids)
        assert after.endswith(opening)
        assert after.startswith("\n<|im_start|>user\n<tool_response>\nImage 2:\n</tool_response>")

    def test_what_is_recorded_is_what_the_template_writes(self, thinking, picture):
        """Segment after segment, and the whole in one: thoughts stay while no other question follows."""
        renderer = thinking("on")
        said = f"It is tiny.\n</think>\n\nCloser.\n\n{renderer.family.syntax.format(CALL)}"
        crop = picture(16, 16)
        segments = [
            renderer.prompt(QUESTION, ()),
            Segment(renderer.encode(said)),
            renderer.observation(Observation("Image 2:", (crop,))),
        ]
        history = (*QUESTION, Message("assistant", (said,)), Message("tool", ("Image 2:", crop)))
        assert tuple(i for s in segments for i in s.ids) == renderer.prompt(history, ()).ids

    def test_a_later_question_drops_them_from_a_prompt(self, thinking):
        renderer = thinking("on")
        said = Message("assistant", ("Hm.\n</think>\n\nIt is K.",))
        text = renderer.decode(renderer.prompt((*QUESTION, said, Message("user", ("And now?",))), ()).ids)
        assert "Hm." not in text
        assert "assistant\nIt is K." in text

    @pytest.mark.parametrize("switch", ["on", "off"])
    def test_a_teachers_message_without_thoughts(self, thinking, switch):
        """Its thoughts are empty: with the prompt before it, what the template writes."""
        renderer = thinking(switch)
        ids = (*renderer.prompt(QUESTION, ()).ids, *renderer.encode("It is K."))
        text = renderer.tokenizer.decode(ids)
        assert text.endswith(f"{CLOSED}It is K.<|im_end|>")
        assert text.count("</think>") == 1

    def test_the_characters_of_a_message_keep_their_tokens(self, thinking):
        renderer = thinking("on")
        text = "It is tiny. Closer."
        start, end = renderer.tokens_of(text, (text.index("Closer"), len(text)))
        ids = renderer.encode(text)
        assert renderer.tokenizer.decode(ids[start:end]).strip() == "Closer.<|im_end|>"
        assert end == len(ids)

    def test_a_template_without_one(self, qwen3_folder, load_model, with_template):
        renderer = load_model(qwen3_folder).renderer
        with pytest.raises(CheckpointError, match=r"no switch for thinking.*leave thinking out"):
            with_template(renderer, thinking="off")

    def test_tokens_of_another_setting_are_anothers(self, thinking):
        assert len({thinking(switch).fingerprint for switch in (None, "on", "off")}) == 3

    def test_older_fingerprints_stay(self):
        """Files that were written before there was a switch are still this model's."""
        assert '"thinking"' not in ChatFormat().identity
        assert '"thinking":"on"' in ChatFormat(thinking="on").identity


class TestResultsOfTheUser:
    """A message of the user is a new question to the template: it drops the thoughts before it."""

    def test_the_error_says_what_to_set(self, thinking):
        with pytest.raises(CheckpointError, match='set observation_role to "tool"'):
            thinking(None, observation_role="user").observation(Observation("Image 2:"))

    def test_a_folder_without_a_chat_format_gets_what_its_family_takes(self, qwen35_folder, tmp_path):
        import shutil

        from pixelreasoner.models.vlm import renderer_of

        folder = shutil.copytree(qwen35_folder, tmp_path / "bare")
        for name in ("chat_format.json", "pixelreasoner.json"):
            (folder / name).unlink()
        assert renderer_of(folder).chat_format.observation_role == "tool"
        (folder / "chat_format.json").write_text('{"observation_role": "user"}')
        assert renderer_of(folder).chat_format.observation_role == "user"


def test_tokens_that_stand_for_media_are_never_sampled(renderer):
    """Those of the vocabulary: sounds and speech too; the tokens of code and of thoughts are words."""
    tokenizer = copy.deepcopy(renderer.tokenizer)
    media = ["<|audio_start|>", "<|audio_end|>", "<|audio_pad|>", "<tts_pad>"]
    tokenizer.add_tokens(media, special_tokens=True)
    tokenizer.add_tokens(["<|fim_prefix|>", "<think>"])
    larger = QwenVLRenderer(tokenizer, renderer.family, renderer.vision, renderer.chat_format)
    name = tokenizer.convert_ids_to_tokens
    assert {name(i) for i in larger.forbidden_ids} == {
        *media, "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>",
        "<|im_start|>",
    }  # fmt: skip
