"""A message that ends with `<|endoftext|>`: the next turn is the chat template's all the same."""

from __future__ import annotations

import numpy as np
import pytest

from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.rollout import RolloutRequest, rollout
from pixelreasoner.objectives.loss_mask import behavior_logprobs, loss_mask
from pixelreasoner.policy.base import Completion, CompletionRequest, Sampling
from pixelreasoner.policy.scripted import ScriptedPolicy
from rollout_helpers import TOOLBOX, task

CROP = ToolCall("crop_image", {"bbox_2d": [2, 4, 14, 16], "target_image": 1})
ANSWER = r"It reads K. \boxed{K}"


class Numbered(ScriptedPolicy):
    """The log-probability of each token is minus its place in the message, from 1."""

    def complete_batch(self, requests: list[CompletionRequest], on_token=None) -> list[Completion]:
        done = super().complete_batch(requests, on_token)
        return [Completion(c.ids, tuple(-float(i) for i in range(1, len(c.ids) + 1)), c.finish) for c in done]


@pytest.fixture
def ids(renderer):
    """Ids of words and control tokens."""
    return lambda text: tuple(renderer.tokenizer(text, add_special_tokens=False)["input_ids"])


def roll_out(renderer, *messages: tuple[int, ...]) -> Trajectory:
    (trajectory,) = rollout(
        [RolloutRequest(task(), 0)],
        policy=Numbered(messages, renderer), renderer=renderer, toolbox=TOOLBOX,
        sampling=Sampling(), limits=Limits(),
    )  # fmt: skip
    return trajectory


@pytest.mark.parametrize(("end", "closing"), [("<|im_end|>", ""), ("<|endoftext|>", "<|im_end|>")])
def test_what_follows_is_what_the_template_gives(renderer, ids, end, closing):
    """CALL end | closing newline <|im_start|>user ... <|im_start|>assistant newline | ANSWER <|im_end|>."""
    call = ids(renderer.family.syntax.format(CROP))
    t = roll_out(renderer, (*call, *ids(end)), (*ids(ANSWER), *ids("<|im_end|>")))
    sampled, observed = t.turns[0].sampled, t.turns[0].observed
    assert sampled is not None
    assert observed is not None
    assert sampled.ids == (*call, *ids(end))
    assert observed.ids[: len(ids(closing)) + 2] == (*ids(closing), *ids("\n"), *ids("<|im_start|>"))
    text = renderer.tokenizer.decode(observed.ids)
    assert text.startswith(f"{closing}\n<|im_start|>user\n")
    opening = "<|im_start|>assistant\n"
    assert text.endswith(("<|im_end|>\n" + opening, "<|im_end|>\n" + opening + "<think>\n"))
    assert (t.answer, t.n_operations) == ("K", 1)


def test_the_whole_conversation_differs_by_the_one_sampled_token(renderer, ids):
    call, answer = ids(renderer.family.syntax.format(CROP)), (*ids(ANSWER), *ids("<|im_end|>"))
    usual = roll_out(renderer, (*call, *ids("<|im_end|>")), answer)
    other = roll_out(renderer, (*call, *ids("<|endoftext|>")), answer)
    tokens = lambda t: [i for segment in t.segments for i in segment.ids]  # noqa: E731
    at = len(usual.segments[0].ids) + len(call)
    expected = tokens(usual)
    expected.insert(at, *ids("<|endoftext|>"))
    assert tokens(other) == expected


def test_masks_and_logprobs_stay_with_the_tokens_that_were_sampled(renderer, ids):
    call, answer = ids(renderer.family.syntax.format(CROP)), (*ids(ANSWER), *ids("<|im_end|>"))
    t = roll_out(renderer, (*call, *ids("<|endoftext|>")), answer)
    every = np.array([i for segment in t.segments for i in segment.ids])
    learned = every[loss_mask(t)].tolist()
    assert learned == [*call, *ids("<|endoftext|>"), *answer]
    n_first, n_last = len(call) + 1, len(answer)
    assert behavior_logprobs(t).tolist() == [-float(i + 1) for n in (n_first, n_last) for i in range(n)]
