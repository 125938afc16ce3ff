"""The protocol of an evaluation: all that a figure depends on, so that a result can be made again.

`protocol.json` is written when the model has been loaded, and is part of `summary.json`. It holds nothing of
the time and the machine: the same evaluation writes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from pixelreasoner import __version__
from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.chat.renderer import Renderer
from pixelreasoner.chat.vision_spec import VisionSpec
from pixelreasoner.core.config import Config
from pixelreasoner.core.provenance import PACKAGES, commit, package_version
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.evals.benchmark import Benchmark
from pixelreasoner.evals.endpoint.config import Spoken
from pixelreasoner.evals.scores import Score
from pixelreasoner.ops.toolbox import Toolbox

Protocol = dict[str, Any]
"""Ready for JSON."""
PROTOCOL_FILE = "protocol.json"
_NOT_OF_THE_PROTOCOL = ("out", "model", "without_operations")
"""Sections of a recipe that say where things are, or that stand in the protocol in another form."""


def model_protocol(renderer: Renderer, interaction: Interaction, facts: Mapping[str, Any]) -> Protocol:
    """What is known once the model is loaded::

    {"checkpoint", "compute": facts of whoever loaded it (`evals.run.load`), where there are any,
     "records": {"fingerprint", "coordinates"},    as in every record
     "wording": the chat format: every sentence and pixel budget that is set,
     "vision": {"image", "crop", "video_frame", ...},    budgets in use, patch and merge
     "operations": [the schemas that the model is shown],
     "packages": {NAME: VERSION}}
    """
    vision = renderer.vision
    toolbox = interaction.toolbox(vision.unit, renderer.chat_format)
    return {
        **facts,
        "records": {"fingerprint": renderer.fingerprint, "coordinates": vision.coordinates},
        **_spoken(renderer.chat_format, vision, toolbox),
    }


def endpoint_protocol(model: str, spoken: Spoken, toolbox: Toolbox | None) -> Protocol:
    """As `model_protocol`, of a served model: its name in the place of checkpoint and compute."""
    return {
        "served": {"model": model},
        "records": {"fingerprint": "", "coordinates": spoken.vision.coordinates},
        **_spoken(spoken.chat_format, spoken.vision, toolbox),
    }


def _spoken(chat_format: ChatFormat, vision: VisionSpec, toolbox: Toolbox | None) -> Protocol:
    return {
        "wording": chat_format.model_dump(mode="json"),
        "vision": {f.name: _plain(getattr(vision, f.name)) for f in fields(vision)},
        "operations": [] if toolbox is None else list(toolbox.schemas),
        "packages": _packages(),
    }


def recipe_protocol(recipe: Config, benchmark: Benchmark | None, tasks: Sequence[Score]) -> Protocol:
    """What the recipe says, with its defaults: `recipe`, `benchmark`, and the `tasks` that were asked.

    `tasks` holds one score of each, in order.
    """
    table = recipe.model_dump(mode="json", exclude=set(_NOT_OF_THE_PROTOCOL))
    text = "".join(f"{s.task_id} {s.task_digest}\n" for s in tasks)
    return {
        "recipe": table,
        "benchmark": None if benchmark is None else _described(benchmark),
        "tasks": {"n": len(tasks), "digest": hashlib.sha256(text.encode()).hexdigest()[:16]},
    }


def read_protocol(folder: Path) -> Protocol | None:
    """The protocol in the folder of an evaluation; None where there is none, as of earlier versions."""
    try:
        found = json.loads((folder / PROTOCOL_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def changed_model(before: Protocol, now: Protocol) -> tuple[Protocol, list[str]]:
    """The protocol of a run that goes on, and the keys in which it is not as it began.

    It stays that of the beginning; `changed` lists the later values.
    """
    earlier = dict(leaves(before))
    changed = {key: value for key, value in leaves(now) if key in earlier and earlier[key] != value}
    if not changed:
        return {**before, **now}, []
    return {**before, "changed": before.get("changed", {}) | changed}, sorted(changed)


def protocol_text(protocol: Protocol) -> str:
    """What `protocol.json` holds."""
    return json.dumps(protocol, indent=2, sort_keys=True) + "\n"


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a nested mapping with their keys, joined by points; lists are values."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from leaves(inner, f"{place}.{key}" if place else str(key))
    else:
        yield place, value


def _packages() -> dict[str, str]:
    found = {name: package_version(name) for name in (*PACKAGES, "math-verify")}
    of_git = commit()
    own = f"{__version__} ({of_git})" if of_git else __version__
    return {"pixelreasoner": own, **{name: v for name, v in found.items() if v is not None}}


def _described(benchmark: Benchmark) -> dict[str, Any]:
    """The fields of a benchmark that are plain values; of a function, its name."""
    found = {
        f.name: getattr(benchmark, f.name) for f in fields(benchmark) if f.name not in ("tasks", "wording")
    }
    return {name: _plain(value) for name, value in found.items()}


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if value is None or isinstance(value, str | int | float | bool):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, Config):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, partial):
        return {"function": _plain(value.func), "options": _plain(value.keywords)}
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}:{named.__qualname__}"
