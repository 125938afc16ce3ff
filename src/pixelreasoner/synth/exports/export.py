"""Export a run of synthesis: its trajectories in one of `formats()`, with a data set card beside them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.files import count_lines, write_text
from pixelreasoner.core.progress_line import tracked
from pixelreasoner.core.recipe import load_recipe
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.run_folder import CONFIG_FILE, SUMMARY_FILE, TRAJECTORIES_FILE
from pixelreasoner.core.run_status import is_locked
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.synth.card import Contents, card
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.synth.exports.new_folder import new_folder
from pixelreasoner.synth.exports.parquet import SHARD_BYTES, write_parquet
from pixelreasoner.synth.exports.pixelreasoner_sft import write_pixelreasoner_sft
from pixelreasoner.synth.exports.prompts import Prompts, run_prompts, stored_prompts
from pixelreasoner.synth.exports.sharegpt import write_sharegpt
from pixelreasoner.synth.servers import server_sections

CARD_FILE = "README.md"


@dataclass(frozen=True)
class Format:
    """A form in which trajectories can be exported."""

    write: Callable[[Path, Iterable[Trajectory], Prompts], None]
    prompts: Callable[[str, Interaction], Prompts]
    """From a checkpoint and an interaction to the words and the coordinates of this form."""


def formats(shard_bytes: int = SHARD_BYTES) -> dict[str, Format]:
    """The forms by their names.

    Args:
        shard_bytes: of a Parquet shard, at most.
    """
    return {
        "parquet": Format(partial(write_parquet, shard_bytes=shard_bytes), run_prompts),
        "pixelreasoner-sft": Format(write_pixelreasoner_sft, stored_prompts),
        "sharegpt": Format(write_sharegpt, run_prompts),
    }


def export(
    run: Path, out: Path, *, form: str, shard_bytes: int = SHARD_BYTES, console: Console | None = None
) -> int:
    """Write the trajectories of a run, and a card, into a new folder; how many there are.

    The folder appears when everything is in it. A run that was stopped is exported as far as it came, and the
    card says so.

    Args:
        run: the folder of a synthesis.
        out: the new folder.
        form: a name of `formats()`.
        shard_bytes: of a Parquet shard, at most; of no meaning to other forms.
        console: where progress is shown; stderr when None.

    Raises:
        RecordError: the folder holds no such run, one that is going on, or nothing; `out` holds something; or
            a trajectory cannot be written in this form.
        CheckpointError: the model of the run is not there any more.
        MediaError: a picture is missing or damaged.
        MissingExtraError: pyarrow is not installed.
    """
    path = run / TRAJECTORIES_FILE
    if is_locked(run):
        raise RecordError(f"{run} is still being written; wait for it, or stop it")
    total = count_lines(path)
    if not total:
        raise RecordError(f"{run} holds no trajectories to export")
    config = load_recipe(SynthConfig, run / CONFIG_FILE)
    chosen, contents = formats(shard_bytes)[form], Contents()
    prompts = chosen.prompts(config.checkpoint, config.interaction)

    def passing() -> Iterator[Trajectory]:
        read = read_trajectories(path, tolerate_truncation=True)
        for trajectory in tracked(read, "export", total=total, console=console):
            contents.add(trajectory)
            yield trajectory

    with new_folder(out) as folder:
        chosen.write(folder, passing(), prompts)
        text = card(contents, _facts(run, config), form=form, name=out.absolute().name)
        write_text(folder / CARD_FILE, text)
    return contents.n


def _facts(run: Path, config: SynthConfig) -> dict[str, Any]:
    """What is known of how the set was made: the summary of the run, and its recipe."""
    try:
        summary = json.loads((run / SUMMARY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        summary = {}
    facts: dict[str, Any] = {
        "wanted": config.n,
        "checkpoint": _public_name(config.checkpoint),
        "seed": config.seed,
        "models": {
            section.removesuffix(".server").removeprefix("chat_"): _public_name(server.model)
            for section, server in server_sections(config).items()
        },
        **(summary if isinstance(summary, dict) else {}),
    }
    recipe = config.model_dump(mode="json")
    facts.setdefault("sources", _sources(recipe.get("seeds") or recipe["tasks"]))
    facts["sources"] = [_public_name(name) for name in facts["sources"]]
    if isinstance(by_source := facts.get("by_source"), dict):
        counts = Counter[str]()
        for name, count in cast(dict[str, int], by_source).items():
            counts[_public_name(name)] += count
        facts["by_source"] = dict(counts)
    return facts


def _public_name(name: str) -> str:
    """What a model or a source is called; of a path its last name, since paths are nobody else's business."""
    return Path(name).absolute().name if Path(name).is_absolute() or Path(name).exists() else name


def _sources(value: Any) -> list[str]:
    """The names of the task sources that a recipe names, wherever they stand in it."""
    if isinstance(value, Mapping):
        # A mixture stands in the place of its own source.
        own = (
            [str(value["source"])]
            if isinstance(value.get("source"), str) and not value.get("mixture")
            else []
        )
        return list(dict.fromkeys([*own, *(name for item in value.values() for name in _sources(item))]))
    if isinstance(value, (list, tuple)):
        return list(dict.fromkeys(name for item in value for name in _sources(item)))
    return []
