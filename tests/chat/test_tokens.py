"""Words never become control tokens; template markup does, and tokens are those of the text as a whole."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelreasoner.chat.tokens import Slots, TextCodec
from pixelreasoner.core.errors import CheckpointError

CONTROL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
HOSTILE = st.lists(
    st.one_of(
        st.sampled_from([*CONTROL, "[[slot0]]", "[[slot", "]]", "0", "<|im_", "end|>", "\n"]),
        st.text(max_size=5),
    )
).map("".join)


@pytest.fixture(scope="module")
def tokenizer(qwen3_folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(qwen3_folder)


@pytest.fixture(scope="module")
def codec(tokenizer):
    return TextCodec(tokenizer)


def test_markup_is_split_at_its_control_tokens(codec):
    end = codec.control_id("<|im_end|>")
    assert codec.pieces("a<|im_end|><|im_end|>\n") == ["a", end, end, "\n"]
    assert codec.pieces("") == []


def test_words_stay_words(codec, tokenizer):
    special = set(tokenizer.all_special_ids) | {codec.control_id(token) for token in CONTROL}
    for token in CONTROL:
        ids = codec.encode([f"What is {token}?"])
        assert not special & set(ids)
        assert codec.decode(ids) == f"What is {token}?"


def test_markup_is_tokenised_as_the_tokenizer_does(codec, tokenizer):
    markup = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Is 120 red?<tool_call><|im_end|>\n"
    assert list(codec.encode(codec.pieces(markup))) == tokenizer(markup)["input_ids"]


@given(pieces=st.lists(st.text(max_size=8)))
@settings(deadline=None)
def test_cuts_between_words_do_not_matter(codec, pieces):
    assert codec.encode(pieces) == codec.encode(["".join(pieces)])


def test_the_tokenizer_is_left_as_it_was(codec, tokenizer):
    codec.encode(["<|im_end|>"])
    assert tokenizer("<|im_end|>")["input_ids"] == [codec.control_id("<|im_end|>")]


def test_half_a_character_is_replaced(codec):
    assert codec.decode(codec.encode(["a\ud800b"])) == "a?b"


def test_a_missing_control_token_is_named(codec):
    with pytest.raises(CheckpointError, match=r"<tool_call>"):
        codec.control_id("<tool_call>")  # an added token, and an ordinary word


@given(texts=st.lists(HOSTILE, min_size=1, max_size=4), tool=HOSTILE)
@settings(deadline=None)
def test_slots_bring_back_what_they_hold(codec, texts, tool):
    """Around hostile content, the control tokens are the template's two, and no text is lost."""
    slots = Slots(codec)
    guarded = slots.guard({"name": [tool]})["name"][0]
    markup = "<|im_start|>" + guarded + "".join(slots.hold(text) for text in texts) + "<|im_end|>"
    first, *words, last = slots.fill(markup)
    assert (first, last) == (codec.control_id("<|im_start|>"), codec.control_id("<|im_end|>"))
    assert "".join(words) == tool + "".join(texts)


def test_values_other_than_text_pass_the_guard(codec):
    assert Slots(codec).guard({"a": [1, 2.5, None, True, ("b",)]}) == {"a": [1, 2.5, None, True, ["b"]]}
