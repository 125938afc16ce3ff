"""What the tables of measurements show of each kind of record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Record = dict[str, Any]
Column = tuple[str, Callable[[Record], str]]

METHOD_NAMES = {
    "shared": "shared prefix (ours)", "padded": "padded rows (ours)", "stock": "transformers, padded",
    "trl": "TRL GRPOTrainer", "group": "group engine (ours)", "local": "plain engine (ours)",
}  # fmt: skip
STEP_NAMES = {"group": "fast path (ours)", "local": "plain path (ours)"}
"""A step has a way of rolling out and a way of training."""
TITLES = {
    "train": "Training", "rollout": "Rollout", "step": "Whole step", "gpu": "Accelerator",
    "host": "Host memory, 12-megapixel JPEGs", "growth": "Memory and state over steps",
    "eval": "Evaluation of a policy that costs nothing",
    "synth": "Synthesis with a scripted teacher",
}  # fmt: skip


def _number(name: str, form: str, scale: float = 1.0) -> Callable[[Record], str]:
    return lambda r: format(r[name] / scale, form) if r.get(name) is not None else "–"


def _series(values: Sequence[int]) -> str:
    """A few of many bytes, in MiB, with the steps they were taken at."""
    n = len(values)
    at = sorted({1, *(n * sixth // 6 for sixth in range(1, 7))} - {0})
    return ", ".join(f"{values[step - 1] / 2**20:.0f} ({step})" for step in at)


def _method(record: Record) -> str:
    names = METHOD_NAMES | STEP_NAMES if record["kind"] == "step" else METHOD_NAMES
    return names.get(record["method"], str(record["method"]))


def _ratio(record: Record) -> str:
    least, most = record["times_ours_least"], record["times_ours_most"]
    return f"{record['times_ours']:.2f} ({least:.2f}–{most:.2f})"


def _times_bound(record: Record) -> str:
    return f"{record['seconds'] / record['bound_seconds']:.2f}"


WHO: list[Column] = [
    ("model", lambda r: str(r["model"])),
    ("P : C, crops", lambda r: f"{r['prompt']} : {r['completion']}, {r['crops']}"),
    ("method", _method),
]
_TIME: list[Column] = [("seconds", _number("seconds", ".3g")), ("times ours (rounds)", _ratio)]
_EFFICIENCY: list[Column] = [
    ("GFLOP needed", _number("flops_needed", ".3g", 1e9)),
    ("GFLOP/s of products", _number("matrix_flops_per_second", ".3g", 1e9)),
    ("times the bound", _times_bound),
    ("utilisation", _number("utilisation", ".0%")),
]
_PEAK: list[Column] = [("peak MiB", _number("peak_bytes", ".0f", 2**20))]
_LOGP: list[Column] = [("max |Δ log p|", _number("largest_logp_difference", ".1e"))]
_GRADIENT: list[Column] = [("max |Δ grad|", _number("largest_gradient_difference", ".1e"))]
_TOKENS: list[Column] = [("positions", _number("tokens", ".0f"))]
_SAMPLED: list[Column] = [
    ("sampled", _number("sampled", ".0f")),
    ("observed", _number("observed", ".0f")),
]

COLUMNS: dict[str, list[Column]] = {
    "train": [*WHO, *_TOKENS, *_TIME, *_EFFICIENCY, *_PEAK, *_LOGP, *_GRADIENT],
    "rollout": [
        *WHO, ("tasks", _number("tasks", ".0f")), *_SAMPLED, *_TIME,
        ("sampled/s", _number("sampled_per_second", ".0f")), *_EFFICIENCY, *_PEAK, *_LOGP,
    ],
    "step": [
        *WHO, *_SAMPLED, *_TIME, ("of them rollouts", _number("rollout_seconds", ".3g")),
        *_EFFICIENCY, *_PEAK,
    ],
    "gpu": [*WHO, *_TOKENS, *_TIME, *_EFFICIENCY, *_PEAK, *_LOGP, *_GRADIENT],
    "host": [
        ("what", lambda r: str(r["what"])), ("pixels GiB", _number("pixel_bytes", ".0f", 2**30)),
        ("before MiB", _number("start_bytes", ".0f", 2**20)),
        ("filled MiB", _number("then_bytes", ".0f", 2**20)),
        *_PEAK, ("state MiB", _number("state_bytes", ".1f", 2**20)), ("seconds", _number("seconds", ".0f")),
    ],
    "eval": [
        ("what", lambda r: str(r["what"])), ("pixels GiB", _number("pixel_bytes", ".1f", 2**30)),
        ("before MiB", _number("start_bytes", ".0f", 2**20)), *_PEAK,
        ("seconds", _number("seconds", ".0f")), ("rows/s", _number("rows_per_second", ".1f")),
        ("processor's", _number("cpu_seconds", ".0f")),
        ("rows/s of it", _number("rows_per_cpu_second", ".1f")),
    ],
    "synth": [
        ("what", lambda r: str(r["what"])), ("requests", _number("requests", ",.0f")),
        ("seconds", _number("seconds", ".0f")), ("requests/s", _number("requests_per_second", ".1f")),
        ("% of ideal", _number("share_of_ideal", ".1f", 0.01)),
        ("processor's", _number("cpu_seconds", ".0f")),
        ("before MiB", _number("start_bytes", ".0f", 2**20)), *_PEAK,
    ],
    "growth": [
        ("what", lambda r: str(r["what"])),
        ("resident MiB", lambda r: _series(r["resident_bytes"])),
        ("state MiB (step)", lambda r: ", ".join(f"{n / 2**20:.2f} ({at})" for at, n in r["states"])),
        *_PEAK, ("seconds", _number("seconds", ".0f")),
    ],
}  # fmt: skip
MEMORY: list[Column] = [
    *WHO,
    ("attempts", _number("group", ".0f")),
    ("P + ΣC", _number("unique_tokens", ".0f")),
    *_TOKENS,
    *_PEAK,
]
