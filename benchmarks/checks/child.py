"""A process for one group of checks: what one of them breaks on the device ends with it.

Reads a JSON object from its input; writes a JSON object per check, each at once, to its output.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

GROUPS = {
    "kernels": "benchmarks.checks.kernels",
    "recurrent": "benchmarks.checks.recurrent",
    "models": "benchmarks.checks.models",
    "nano": "benchmarks.checks.nano",
    "graphs": "benchmarks.checks.graphs",
    "optimisers": "benchmarks.checks.optimisers",
    "sharded": "benchmarks.checks.sharded",
    "commands": "benchmarks.checks.commands",
    "steps": "benchmarks.checks.steps",
    "decoding": "benchmarks.checks.decoding",
    "graph-steps": "benchmarks.checks.graph_steps",
}
"""In the order of their size; each is a module with `checks(setting)`."""
DEVICE_LOST = 3
"""The exit code after a check from which the device did not recover; another process goes on."""


def main(request: dict[str, Any]) -> int:
    """Carry out the checks of `group` from number `first` on, on `device`; `tiny`, within `seconds`."""
    import torch
    import transformers

    from benchmarks.checks.outcome import Setting, carried_out

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    logging.getLogger("pixelreasoner").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    out = _own_output()
    device = torch.device(request["device"])
    if device.type == "cuda":
        torch.cuda.init()
    with tempfile.TemporaryDirectory(prefix="pixelreasoner-checks-") as folder:
        setting = Setting(device, request["tiny"], Path(folder), request["seconds"])
        found = importlib.import_module(GROUPS[request["group"]]).checks(setting)
        for name in list(found)[request["first"] :]:
            record = carried_out(name, found[name], device)
            out.write(json.dumps(record, default=str) + "\n")
            out.flush()
            if record.get("device_lost"):
                return DEVICE_LOST
    return 0


def _own_output() -> Any:
    """The output for records alone: what libraries print goes where errors go."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


if __name__ == "__main__":
    sys.exit(main(json.load(sys.stdin)))
