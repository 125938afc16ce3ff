"""Steps of decoding as CUDA graphs on the device: the same tokens as with one kernel after the other.

On a processor nothing is captured: there the steps in padded shapes and fixed memory are what is compared.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.cases import Case, random_group
from benchmarks.checks.models import FAMILIES, checkpoint, on_device
from benchmarks.checks.outcome import Bound, Checks, Found, Setting, short
from pixelreasoner.core.trajectory import Segment
from pixelreasoner.models.config import ModelConfig, Precision
from pixelreasoner.models.loader import load_model
from pixelreasoner.models.static_steps import StaticSteps
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.loss_mask import prompt_of
from pixelreasoner.policy.base import Completion, CompletionRequest, Sampling
from pixelreasoner.policy.decode_steps import DYNAMIC, GRAPHS, STATIC, DecodeMode
from pixelreasoner.policy.group import GroupPolicy

CASE = Case(80, 60, 9, crops=1, group=4, image=0.6)
LOGP = {torch.float32: 1e-4, torch.bfloat16: 0.1}
"""The largest difference of a log-probability, up to the first token that differs."""
TOKENS, TINY_TOKENS = 100, 16
"""Of the longest message; the first is more than a block of 64, so that pools grow."""


def checks(setting: Setting) -> Checks:
    dtypes = setting.dtypes(torch.bfloat16)
    return {
        **{
            f"{name}, {short(dtype)}: {what}": partial(check, setting, name, dtype)
            for name, dtype in itertools.product((*FAMILIES, "nano"), dtypes)
            for what, check in WAYS.items()
        },
        **{
            f"nano, products in bf16: {what}": partial(
                check, setting, "nano", torch.float32, precision="bf16"
            )
            for what, check in WAYS.items()
        },
        **({"what cannot be captured": partial(refused, setting)} if setting.on_card else {}),
    }


def compared(setting: Setting, name: str, dtype: torch.dtype, precision: Precision = "fp32") -> Found:
    """Messages of several groups that join and leave, long enough for pools that grow, greedy and sampled."""
    model = _model(setting, name, dtype)
    if setting.tiny:
        requests, at_once = _requests(model, groups=2, rollouts=3, tokens=TINY_TOKENS), 5
    else:
        requests, at_once = _requests(model, groups=3, rollouts=5, tokens=TOKENS), 11
    policy = partial(GroupPolicy, model, batch_size=at_once, precision=precision)
    narrow = torch.bfloat16 if precision == "bf16" else dtype
    single, _ = _staggered(policy, DYNAMIC, requests)
    padded, _ = _staggered(policy, STATIC, requests)
    found = _differences(single, padded, narrow, "padded: ")
    if not setting.on_card:
        return found
    graphs, n_captured = _staggered(policy, GRAPHS, requests)
    return {
        **found,
        **_differences(single, graphs, narrow, ""),
        **_differences(padded, graphs, narrow, "graphs against padded: "),
        "graphs are padded steps bit for bit": padded == graphs,
        "shapes captured": n_captured,
        "nothing was captured": Bound(float(not n_captured), 0.0),
    }


def new_weights(setting: Setting, name: str, dtype: torch.dtype, precision: Precision = "fp32") -> Found:
    """Weights change in place between sessions and within one: what is sampled next is by the new ones."""
    seen: list[list[Completion]] = []
    for mode in (DYNAMIC, captured(setting)):
        model = _model(setting, name, dtype)
        policy = GroupPolicy(model, decode_mode=mode, precision=precision)
        requests = _requests(model, groups=2, rollouts=2 if setting.tiny else 4, tokens=16)
        done = _finished(policy, requests)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.decoder.parameters():
                noise = torch.randn(parameter.shape, generator=generator).to(parameter)
                parameter += 0.05 * parameter.float().std().nan_to_num(0.0).to(parameter) * noise
        done += _finished(policy, requests)
        done += _finished(policy, requests, update=5)
        seen.append(done)
    first, second = len(requests), 2 * len(requests)
    changed = sum(a.ids != b.ids for a, b in zip(seen[0][:first], seen[0][first:second], strict=True))
    narrow = torch.bfloat16 if precision == "bf16" else dtype
    found = _differences(seen[0], seen[1], narrow, "")
    return {**found, "messages that the weights changed": changed}


WAYS = {"graphs against single kernels": compared, "new weights": new_weights}


def refused(setting: Setting) -> Found:
    """A step that looks at the device cannot be captured: it runs on, and so does what comes after it."""
    model = _model(setting, "tiny-qwen2.5", torch.float32)
    requests = _requests(model, groups=2, rollouts=4, tokens=16)
    expected = _finished(GroupPolicy(model, decode_mode=DYNAMIC), requests)

    def look(module: Any, args: Any, out: torch.Tensor) -> None:
        out.sum().item()

    said: list[str] = []
    hook = model.decoder.layers[0].mlp.register_forward_hook(look)
    try:
        with _listening(said):
            got = _finished(GroupPolicy(model, decode_mode=GRAPHS), requests)
    finally:
        hook.remove()
    torch.cuda.empty_cache()
    after, n_captured = _staggered(partial(GroupPolicy, model), captured(setting), requests)
    again = _finished(GroupPolicy(model, decode_mode=DYNAMIC), requests)
    return {
        **_differences(expected, got, torch.float32, ""),
        **_differences(expected, after, torch.float32, "captured later: "),
        **_differences(expected, again, torch.float32, "single again: "),
        "sentences": Bound(abs(len(said) - 1.0), 0.0),
        "said": said,
        "captured afterwards": n_captured,
    }


def captured(setting: Setting) -> DecodeMode:
    """As on a card; a processor has no graphs."""
    return GRAPHS if setting.on_card else STATIC


def _staggered(
    policy: Callable[..., GroupPolicy], mode: DecodeMode, requests: Sequence[CompletionRequest]
) -> tuple[list[Completion], int]:
    """Messages that start one after the other, in an order of chance; and the most shapes captured."""
    order = np.random.default_rng(0).permutation(len(requests)).tolist()
    done: dict[int, Completion] = {}
    index: dict[int, int] = {}
    n_captured = 0
    with policy(decode_mode=mode).session() as engine:
        while len(done) < len(requests):
            for _ in range(2 if order else 0):
                if order:
                    which = order.pop()
                    index[engine.submit(requests[which])] = which
            for _ in range(4):
                done |= {index[request_id]: completion for request_id, completion in engine.step()}
                if (steps := static_steps_of(engine)) is not None:
                    n_captured = max(n_captured, steps.n_captured)
    return [done[i] for i in range(len(requests))], n_captured


def _finished(
    policy: GroupPolicy, requests: Sequence[CompletionRequest], update: int | None = None
) -> list[Completion]:
    """Completions of a session; after `update` steps the policy is given its model's weights, changed."""
    done: dict[int, Completion] = {}
    with policy.session() as engine:
        ids = [engine.submit(request) for request in requests]
        n_steps = 0
        while len(done) < len(ids):
            if n_steps == update:
                state = policy.model.hf.state_dict()
                policy.load_weights([(k, v * 1.01) for k, v in state.items() if v.is_floating_point()], 1)
            done |= dict(engine.step())
            n_steps += 1
    return [done[i] for i in ids]


def static_steps_of(engine: Any) -> StaticSteps | None:
    """Those of an engine, where it has some in fixed memory."""
    owner = engine._batch if hasattr(engine, "_batch") else engine._decode
    return getattr(owner, "steps", None)


def _differences(
    exact: Sequence[Completion], found: Sequence[Completion], dtype: torch.dtype, prefix: str
) -> dict[str, Any]:
    """Of log-probabilities, up to the first token that differs; and messages with such a token.

    In bf16 the products of a padded step may be rounded otherwise, and then a token is another soon.
    """
    worst, differ = 0.0, 0
    for ours, theirs in zip(found, exact, strict=True):
        differ += ours.ids != theirs.ids
        for i, j, p, q in zip(ours.ids, theirs.ids, ours.logprobs, theirs.logprobs, strict=False):
            if i != j:
                break
            worst = max(worst, abs(p - q))
    return {
        f"{prefix}largest difference": Bound(worst, LOGP[dtype]),
        f"{prefix}messages that differ": Bound(differ, 0.0) if dtype == torch.float32 else differ,
    }


def _requests(
    model: VisionLanguageModel, *, groups: int, rollouts: int, tokens: int
) -> list[CompletionRequest]:
    """Groups of different prompts; every third message is greedy, and each has a length of its own."""
    return [
        CompletionRequest(
            (prompt,),
            100 * i + k,
            Sampling(temperature=0.0 if k % 3 == 0 else 1.0, max_tokens=tokens - 3 * (k + i)),
        )
        for i, prompt in enumerate(prompts_of(model, groups, CASE.prompt))
        for k in range(rollouts)
    ]


def prompts_of(model: VisionLanguageModel, n: int, tokens: int) -> list[Segment]:
    """Different ones, of about so many tokens, most of them of a picture."""
    case = Case(tokens, 60, 9, group=1, image=0.6)
    return [prompt_of(random_group(case, model.renderer, seed=seed).trajectories[0]) for seed in range(n)]


def _model(setting: Setting, name: str, dtype: torch.dtype) -> VisionLanguageModel:
    if name != "nano":
        return on_device(setting, checkpoint(setting, name), dtype).eval().requires_grad_(False)
    config = ModelConfig(device=str(setting.device), dtype="fp32" if dtype == torch.float32 else "bf16")
    # Parameters that take gradients are those of which autocast keeps copies.
    return load_model(config, training=True).eval()


@contextmanager
def _listening(said: list[str]) -> Any:
    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    log, ear = logging.getLogger("pixelreasoner"), Ear(logging.WARNING)
    level = log.level
    log.addHandler(ear)
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.removeHandler(ear)
        log.setLevel(level)
