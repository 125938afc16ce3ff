"""The process in which memory is measured; see `benchmarks.memory.measured_in_child`.

Reads one JSON object from its input and writes a list of objects as the last line of its output.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.cases import Case, random_group, smaller
from benchmarks.memory import peak_of
from benchmarks.methods.base import Method, Settings
from benchmarks.rollout import rollout_method, scripted
from benchmarks.step import step_method
from benchmarks.train import CPU, quiet, training_method
from pixelreasoner.models.saving import save_checkpoint
from pixelreasoner.models.vlm import VisionLanguageModel


def measure(request: dict[str, Any]) -> list[dict[str, int]]:
    """Return `peak_bytes` of each of the `cases` by a `method` on a `model`, with `threads`.

    `of` is "train", "rollout" or "step". Training reads its weights from `folder`, takes `settings`, and also
    returns the decoder's `tokens`.
    """
    torch.set_num_threads(request["threads"])
    quiet()
    cases = [Case(**case) for case in request["cases"]]
    if request["of"] == "train":
        return _training(request, cases)
    return [{"peak_bytes": _rollout_or_step(request, case)} for case in cases]


def _training(request: dict[str, Any], cases: list[Case]) -> list[dict[str, int]]:
    folder, settings = Path(request["folder"]), Settings(**request["settings"])
    model = VisionLanguageModel.load(folder)

    def method_for(case: Case) -> Method:
        return training_method(request["method"], folder, model, random_group(case, model.renderer), settings)

    method_for(smaller(cases[0], 2)).run()
    found = []
    for case in cases:
        method = method_for(case)
        model.zero_grad(set_to_none=True)
        found.append({"peak_bytes": peak_of(method.run, CPU), "tokens": method.tokens})
        del method
    return found


def _rollout_or_step(request: dict[str, Any], case: Case) -> int:
    """Return the peak of the second run: the first loads libraries and makes the optimiser's state."""
    with tempfile.TemporaryDirectory(prefix="pixelreasoner-bench-") as folder:
        model, workload = scripted(request["model"], case)
        save_checkpoint(model, Path(folder))
        make = rollout_method if request["of"] == "rollout" else step_method
        method = make(request["method"], model, Path(folder), workload)
    method.run()
    return peak_of(method.run, CPU)


if __name__ == "__main__":
    sys.stdout.write(f"{json.dumps(measure(json.load(sys.stdin)))}\n")
