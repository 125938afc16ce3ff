"""Columns of the tables, for each kind of record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Record = dict[str, Any]
Column = tuple[str, Callable[[Record], str]]

METHOD_NAMES = {
    "shared": "shared prefix (ours)", "padded": "padded rows (ours)", "stock": "transformers, padded",
    "trl": "TRL GRPOTrainer", "group": "group engine (ours)", "local": "plain engine (ours)",
}  # fmt: skip
STEP_NAMES = {"group": "fast path (ours)", "local": "plain path (ours)"}
"""A step generates and trains."""
TITLES = {"train": "Training", "rollout": "Rollout", "step": "Whole step", "gpu": "Accelerator"}


def _number(name: str, form: str, scale: float = 1.0) -> Callable[[Record], str]:
    return lambda r: format(r[name] / scale, form) if r.get(name) is not None else "–"


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
_GENERATED: list[Column] = [("sampled", _number("sampled", ".0f")), ("observed", _number("observed", ".0f"))]

COLUMNS: dict[str, list[Column]] = {
    "train": [*WHO, *_TOKENS, *_TIME, *_EFFICIENCY, *_PEAK, *_LOGP, *_GRADIENT],
    "rollout": [
        *WHO, ("tasks", _number("tasks", ".0f")), *_GENERATED, *_TIME,
        ("sampled/s", _number("sampled_per_second", ".0f")), *_EFFICIENCY, *_PEAK, *_LOGP,
    ],
    "step": [
        *WHO, *_GENERATED, *_TIME, ("of them generation", _number("generation_seconds", ".3g")),
        *_EFFICIENCY, *_PEAK,
    ],
    "gpu": [*WHO, *_TOKENS, *_TIME, *_EFFICIENCY, *_PEAK, *_LOGP, *_GRADIENT],
}  # fmt: skip
MEMORY: list[Column] = [
    *WHO,
    ("rollouts", _number("group", ".0f")),
    ("P + ΣC", _number("unique_tokens", ".0f")),
    *_TOKENS,
    *_PEAK,
]
