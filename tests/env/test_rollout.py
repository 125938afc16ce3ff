r"""The contract of the interaction loop.

 1. A conversation is prompt, message, observation, message, ...; it ends when a message asks for nothing.
 2. Every sampled token is recorded once, with its log-probability; nothing else is in `sampled`.
 3. What the model sees of an operation is `observed`; a missing stop token is put there, never in `sampled`.
 4. Each new image can be the target of the next operation; a video has no number, its frames get one.
 5. A broken call and a failed operation are invalid observations, and the conversation goes on.
 6. A call wins over an answer in the same message.
 7. A message that was cut is not parsed. Its tokens stay.
 8. Limits: operations and turns -> TURN_LIMIT, images -> IMAGE_LIMIT, tokens -> TOKEN_LIMIT.
 9. Without a toolbox no operation is offered, and a call is text.
10. Requests of a rollout depend on its seed and turn only, never on the batch.
11. Events hold everything that happens, in order, in whole characters.
12. Nothing a model writes raises: 100,000 fuzzed messages.
13. In lockstep, messages and operations are completed in any order, and the trajectories are the same. Which
    sequences run together does not depend on how long an operation takes.
14. Free, a slow operation delays only its own conversation; requests join at any step (`test_rollouts.py`).
"""

from __future__ import annotations

import numpy as np
import pytest

from pixelreasoner.chat.plain import ASSISTANT, IMAGE, STOP, USER
from pixelreasoner.core.errors import ConfigError, MediaError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.trajectory import StopReason, Trajectory
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.rollout import RolloutRequest, rollout
from pixelreasoner.objectives.loss_mask import loss_mask
from pixelreasoner.policy.base import Completion, Sampling
from pixelreasoner.policy.scripted import ScriptedPolicy
from rollout_helpers import (
    ANSWER,
    BROKEN,
    NOISE,
    PICTURE,
    RENDERER,
    SELECT,
    TOOLBOX,
    VIDEO,
    ZOOM,
    call,
    crop,
    roll_out,
    task,
)

# 1, 2, 3: what is recorded


def test_zoom_then_answer():
    t = roll_out("Tiny. " + ZOOM, ANSWER)
    first, last = t.turns
    assert (t.stop, t.answer, t.turns[0].weight_version) == (StopReason.ANSWER, "K", 3)
    assert first.text == "Tiny. " + ZOOM
    assert first.call == ToolCall("crop_image", {"bbox_2d": [2, 4, 14, 16], "target_image": 1})
    assert first.observation is not None
    assert first.observation.valid
    np.testing.assert_array_equal(first.observation.images[0].pixels, NOISE[0][4:16, 2:14])
    assert (last.text, last.call, last.observation, last.observed) == (ANSWER, None, None, None)
    assert (t.n_operations, t.n_invalid_operations, t.used_pixel_space) == (1, 0, True)


def test_tokens_are_recorded_once_and_as_sampled():
    t = roll_out(ZOOM, ANSWER)
    first, last = t.turns
    assert first.sampled is not None
    assert last.sampled is not None
    assert first.observed is not None
    assert first.sampled.ids == (*ZOOM.encode(), STOP)
    assert last.sampled.ids == (*ANSWER.encode(), STOP)
    assert first.sampled.logprobs == (0.0,) * len(first.sampled.ids)
    assert first.observed.ids[0] == USER
    assert first.observed.ids[-2:] == (IMAGE, ASSISTANT)
    assert first.observed.logprobs == ()
    assert t.segments == (t.prompt, first.sampled, first.observed, last.sampled)
    learned = np.concatenate([s.ids for s in t.segments])[loss_mask(t)]
    assert learned.tolist() == [*first.sampled.ids, *last.sampled.ids]


class NoStopToken(ScriptedPolicy):
    """Like an HTTP policy: it stops, and its stop token is not among its tokens."""

    def complete_batch(self, requests, on_token=None):
        texts = [ZOOM if len(r.segments) == 1 else ANSWER for r in requests]
        return [Completion(tuple(t.encode()), (-0.5,) * len(t), "stop") for t in texts]


def test_a_missing_stop_token_is_observed_not_sampled():
    (t,) = rollout(
        [RolloutRequest(task(), 0)], policy=NoStopToken([], RENDERER), renderer=RENDERER, toolbox=TOOLBOX,
        sampling=Sampling(), limits=Limits(),
    )  # fmt: skip
    first = t.turns[0]
    assert first.sampled is not None
    assert first.observed is not None
    assert first.sampled.ids == tuple(ZOOM.encode())
    assert first.observed.ids[:2] == (STOP, USER)
    assert t.answer == "K"


def test_a_message_ends_with_its_first_stop_token():
    t = roll_out((*ANSWER.encode(), STOP, *b"\\boxed{Z}", STOP))
    assert t.answer == "K"
    assert t.turns[0].sampled is not None
    assert t.turns[0].sampled.ids == (*ANSWER.encode(), STOP)


def test_an_empty_message_ends_the_rollout_without_an_answer():
    t = roll_out((STOP,))
    assert (t.stop, t.answer, t.turns[0].text) == (StopReason.ANSWER, None, "")


# 4: targets


def test_a_crop_of_a_crop_has_original_pixels():
    t = roll_out(ZOOM, crop(1, 2, 7, 9, target=2), crop(0, 0, 4, 4, target=3), ANSWER)
    second, third = (turn.observation for turn in t.turns[1:3])
    assert second is not None
    assert third is not None
    np.testing.assert_array_equal(second.images[0].pixels, NOISE[0][6:13, 3:9])
    np.testing.assert_array_equal(third.images[0].pixels, NOISE[0][6:10, 3:7])
    assert t.n_operations == 3


def test_frames_of_a_video_become_images():
    t = roll_out(crop(0, 0, 8, 8), SELECT, crop(0, 0, 8, 8, target=2), ANSWER, media=(VIDEO,))
    too_early, frames, cut = (turn.observation for turn in t.turns[:3])
    assert too_early is not None
    assert not too_early.valid
    assert frames is not None
    assert frames.frames == (5, 2)
    assert frames.images == (VIDEO.frames[4], VIDEO.frames[1])
    assert cut is not None
    np.testing.assert_array_equal(cut.images[0].pixels, NOISE[1][:8, :8])


def test_pictures_beside_a_video_are_numbered_in_order():
    other = Picture(NOISE[7])
    t = roll_out(crop(0, 0, 6, 6, target=2), ANSWER, media=(PICTURE, VIDEO, other))
    assert t.turns[0].observation is not None
    np.testing.assert_array_equal(t.turns[0].observation.images[0].pixels, NOISE[7][:6, :6])


def test_two_videos_are_the_users_mistake():
    with pytest.raises(MediaError, match="2 videos"):
        roll_out(ANSWER, media=(VIDEO, VIDEO))


# 5, 6, 7: what a model can do wrong


@pytest.mark.parametrize(
    "bad", [BROKEN, call("fly"), crop(0, 0, 5, 5, target=9), crop(5, 5, 5, 5), call("select_frames")]
)
def test_a_bad_call_is_an_observation_and_the_conversation_goes_on(bad):
    t = roll_out(bad, ZOOM, ANSWER)
    refused = t.turns[0].observation
    assert refused is not None
    assert not refused.valid
    assert refused.images == ()
    assert t.turns[0].asked_operation
    assert t.turns[0].observed is not None
    assert (t.n_operations, t.n_invalid_operations, t.answer) == (1, 1, "K")


def test_a_call_wins_over_an_answer():
    t = roll_out(r"\boxed{Z} " + ZOOM, ANSWER)
    assert (t.n_operations, t.answer) == (1, "K")


def test_a_second_call_in_a_message_is_answered_with_a_word():
    t = roll_out(ZOOM + crop(0, 0, 9, 9) + SELECT, BROKEN + ZOOM, ANSWER)
    first, second, _ = t.turns
    assert first.observation is not None
    assert first.observation.valid
    assert first.observation.box is not None
    assert first.observation.text.startswith(
        "Only the first of your 3 calls was read; write one call per message. Image 2"
    )
    assert first.observed is not None
    assert (
        bytes(i for i in first.observed.ids if i < 256).decode().startswith("Only the first of your 3 calls")
    )
    assert second.observation is not None
    assert not second.observation.valid
    assert second.observation.text.startswith("Only the first of your 2 calls was read;")
    assert "not valid JSON" in second.observation.text
    assert t.answer == "K"


def test_the_answer_is_that_of_the_last_message():
    assert roll_out(r"\boxed{Z} " + ZOOM, "I cannot tell.").answer is None


@pytest.mark.parametrize("message", [ANSWER, ZOOM])
def test_a_cut_message_is_not_parsed(message):
    n = len(message)  # all but the stop token
    t = roll_out(message, max_tokens=n)
    assert (t.stop, t.answer, t.n_operations) == (StopReason.TOKEN_LIMIT, None, 0)
    assert t.turns[0].call is None
    assert t.turns[0].sampled is not None
    assert t.turns[0].sampled.ids == tuple(message.encode())


def test_a_media_token_cannot_be_sampled():
    t = roll_out((*b"look", IMAGE, *ANSWER.encode(), STOP))
    assert (t.stop, t.answer) == (StopReason.TOKEN_LIMIT, None)
    assert t.turns[0].sampled is not None
    assert t.turns[0].sampled.ids == tuple(b"look")
    assert len(t.turns[0].sampled.logprobs) == 4


# 8: limits


def test_no_operation_beyond_the_limit():
    t = roll_out(ZOOM, ZOOM, ZOOM, limits=Limits(max_operations=2))
    assert (t.stop, t.n_operations, len(t.turns)) == (StopReason.TURN_LIMIT, 2, 3)
    assert t.turns[2].call is not None
    assert t.turns[2].observation is None


def test_an_answer_after_the_last_operation_counts():
    assert roll_out(ZOOM, ZOOM, ANSWER, limits=Limits(max_operations=2)).answer == "K"


def test_broken_calls_cost_turns_not_operations():
    t = roll_out(BROKEN, BROKEN, ZOOM, BROKEN, ANSWER, limits=Limits(max_operations=2))
    assert (t.n_operations, t.n_invalid_operations, t.answer) == (1, 3, "K")
    t = roll_out(BROKEN, BROKEN, BROKEN, limits=Limits(max_turns=3))
    assert (t.stop, len(t.turns), t.n_invalid_operations) == (StopReason.TURN_LIMIT, 3, 2)


def test_one_turn_is_for_the_answer():
    t = roll_out(ZOOM, limits=Limits(max_turns=1))
    assert (t.stop, t.n_operations) == (StopReason.TURN_LIMIT, 0)
    assert roll_out(ANSWER, limits=Limits(max_turns=1)).answer == "K"


def test_image_limit():
    t = roll_out(ZOOM, ZOOM, limits=Limits(max_images=2))
    assert (t.stop, len(t.turns)) == (StopReason.IMAGE_LIMIT, 2)
    last = t.turns[1]
    assert last.observation is not None
    assert len(last.observation.images) == 1
    assert last.observed is None
    assert (t.n_operations, t.n_unread_operations, t.n_invalid_operations) == (1, 1, 0)
    assert sum(s.ids.count(IMAGE) for s in t.segments) == 2


def read(t: Trajectory) -> int:
    """The tokens of a conversation as the model reads it."""
    return sum(RENDERER.n_tokens(segment, prompt=i == 0) for i, segment in enumerate(t.segments))


PROMPT = read(roll_out((), max_tokens=1))
"""Tokens of the prompt, the picture of 24 x 20 among them: a token of the plain renderer is one pixel."""
CROP = 12 * 12
"""Those of what `ZOOM` returns."""


@pytest.mark.parametrize("budget", range(1, 700, 7))
def test_token_budget_is_never_exceeded(budget):
    t = roll_out(ZOOM, ZOOM, ANSWER, limits=Limits(max_tokens=PROMPT + budget))
    assert read(t) <= PROMPT + budget
    assert t.stop == StopReason.TOKEN_LIMIT or t.answer == "K"


def test_token_budget_fits_exactly():
    whole = roll_out(ZOOM, ANSWER)
    assert roll_out(ZOOM, ANSWER, limits=Limits(max_tokens=read(whole))) == whole
    assert roll_out(ZOOM, ANSWER, limits=Limits(max_tokens=read(whole) - 1)).stop == StopReason.TOKEN_LIMIT


def test_an_image_counts_as_what_the_model_reads():
    """One placeholder in the record; as many tokens as the model reads in the limit."""
    whole = roll_out(ZOOM, ANSWER)
    assert read(whole) == sum(len(s.ids) for s in whole.segments) - 2 + 20 * 24 + CROP
    no_room = PROMPT + len(ZOOM) + 1 + CROP  # for the pixels of the crop, not for the words around it
    t = roll_out(ZOOM, ANSWER, limits=Limits(max_tokens=no_room))
    assert (t.stop, len(t.turns), t.n_operations) == (StopReason.TOKEN_LIMIT, 1, 0)


def test_no_more_is_sampled_than_there_is_room():
    asked: list[int] = []

    def script(request, turn):
        asked.append(request.sampling.max_tokens)
        return ANSWER

    for room in (5, 10**6):
        (t,) = rollout(
            [RolloutRequest(task(), 0, limits=Limits(max_tokens=PROMPT + room))],
            policy=ScriptedPolicy(script, RENDERER), renderer=RENDERER, toolbox=TOOLBOX,
            sampling=Sampling(max_tokens=300), limits=Limits(),
        )  # fmt: skip
        assert t.stop == (StopReason.TOKEN_LIMIT if room == 5 else StopReason.ANSWER)
    assert asked == [5, 300]


@pytest.mark.parametrize("missing", [0, 1, 700])
def test_a_prompt_without_room_for_a_message_is_over_before_it(missing):
    t = roll_out(ANSWER, limits=Limits(max_tokens=PROMPT - missing))
    assert (t.stop, t.turns, t.answer, t.n_operations) == (StopReason.TOKEN_LIMIT, (), None, 0)
    assert loss_mask(t).sum() == 0
    assert roll_out(ANSWER, limits=Limits(max_tokens=PROMPT + len(ANSWER) + 1)).answer == "K"


def test_a_limit_above_the_models_is_the_users_mistake(monkeypatch):
    monkeypatch.setattr(RENDERER, "max_tokens", PROMPT + 20)
    with pytest.raises(ConfigError, match=rf"{PROMPT + 20} positions .* set max_tokens to {PROMPT + 20} or"):
        roll_out(ANSWER, limits=Limits(max_tokens=PROMPT + 21))
    # Left out, it is the model's: the answer of 22 bytes does not fit.
    assert roll_out(ANSWER).stop == StopReason.TOKEN_LIMIT
    assert Limits(max_tokens=7).conversation_tokens(None) == 7
    assert Limits().conversation_tokens(None) is None


def test_an_operation_whose_result_did_not_fit_is_none():
    """The paper's n_vo and 1_PR: what the model never saw cannot have been reasoned with."""
    room = PROMPT + len(ZOOM) + 1  # the message and its stop token: nothing is left for what comes back
    t = roll_out(ZOOM, ANSWER, limits=Limits(max_tokens=room))
    assert (t.stop, len(t.turns)) == (StopReason.TOKEN_LIMIT, 1)
    assert t.turns[0].observation is not None
    assert (t.n_operations, t.n_unread_operations, t.used_pixel_space) == (0, 1, False)
    broken = roll_out(BROKEN, ANSWER, limits=Limits(max_tokens=PROMPT + len(BROKEN) + 1))
    assert (broken.n_operations, broken.n_unread_operations, broken.n_invalid_operations) == (0, 0, 1)


# 9: text only


def test_without_a_toolbox_a_call_is_text():
    t = roll_out(ZOOM + " " + ANSWER, tools=False)
    assert (t.stop, t.answer, len(t.turns), t.n_operations) == (StopReason.ANSWER, "K", 1, 0)
    assert t.turns[0].call is None
    assert t.prompt is not None
    assert "crop_image" not in RENDERER.decode(t.prompt.ids)
