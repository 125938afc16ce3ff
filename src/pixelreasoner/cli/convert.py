"""`pixelreasoner convert`: the published warm-start trajectories, as a file for `sft`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from pixelreasoner.cli.options import option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pixelreasoner.chat.chat_format import Wording
    from pixelreasoner.core.trajectory import Trajectory


def convert(
    source: Annotated[tyro.conf.Positional[str], option("FOLDER|NAME")] = "TIGER-Lab/PixelReasoner-SFT-Data",
    *,
    recipe: Annotated[Path | None, option("RECIPE")] = None,
    checkpoint: Annotated[str | None, option("NAME")] = None,
    out: Annotated[Path | None, option("OUT.jsonl")] = None,
    mask: Annotated[str, option("paper|released|none")] = "paper",
    keep_replies: Annotated[bool, option()] = False,
    limit: Annotated[int | None, option("N")] = None,
) -> None:
    """Convert the published warm-start trajectories for `sft`.

    With the recipe of the tuning they are written for its model, in its words and at its pixel budgets, to
    the file that it reads. Rows that cannot be used are counted with their reasons.

    Args:
        source: PixelReasoner-SFT-Data: its folder, a file of its rows, or its name on the hub.
        recipe: Of `sft`: the model, the words, and where the data lie.
        checkpoint: The model that is to learn from them, in place of the recipe's.
        out: Where to write them, in place of the recipe's; pictures go to media/ beside it.
        mask: What is not learned. paper: the calls of wrong operations. released: all but the last two
            messages, as the authors' code. none: nothing.
        keep_replies: Keep the data set's lines before results, in place of the checkpoint's.
        limit: Write so many at most.
    """
    from itertools import islice

    from pixelreasoner.chat.chat_format import ChatFormat
    from pixelreasoner.chat.checkpoint_files import vision_spec
    from pixelreasoner.chat.families import family_of
    from pixelreasoner.chat.rerender import rewrite_texts
    from pixelreasoner.cli.ending import say_done
    from pixelreasoner.core.errors import RecordError
    from pixelreasoner.core.progress_line import tracked
    from pixelreasoner.core.records import write_trajectories
    from pixelreasoner.core.terminal import TerminalConsole, visible
    from pixelreasoner.models.checkpoints import checkpoint_folder
    from pixelreasoner.tasks.datasets.pixelreasoner_sft import SftTrajectories, with_replies

    name, wording, out = _target(recipe, checkpoint, out)
    if out.suffix != ".jsonl":
        raise RecordError(f"--out {out}: end the name in .jsonl")
    folder = checkpoint_folder(name)
    family, chat_format = family_of(folder), ChatFormat.load(folder).with_wording(wording)
    vision = vision_spec(folder, family, chat_format)
    found = SftTrajectories(source, mask=mask)

    def converted() -> Iterator[Trajectory]:
        for trajectory in islice(found, limit):
            if not keep_replies:
                trajectory = with_replies(trajectory, chat_format.crop_reply, chat_format.frames_reply)
            yield rewrite_texts(trajectory, vision, family.syntax)

    total = len(found) if limit is None else min(limit, len(found))
    write_trajectories(out, tracked(converted(), "convert", total=total))
    report = found.report
    if not report.forms:
        raise RecordError("\n".join([f"{report.name} has no usable row", *report.lines()]))
    console = TerminalConsole()
    lines = [f"{out}: {sum(report.forms.values())} of {report.rows} rows"]
    lines += [f"  {form}: {n}" for form, n in sorted(report.forms.items())]
    for line in [*lines, *report.lines()]:
        console.print(visible(line), markup=False, highlight=False, soft_wrap=True)
    then = {} if recipe is None else {"Next": shlex.join(["sft", str(recipe)])}
    say_done({}, {"Look": shlex.join(["show", str(out), "--table"]), **then})


def _target(recipe: Path | None, checkpoint: str | None, out: Path | None) -> tuple[str, Wording, Path]:
    """For which checkpoint, in which words, and where to."""
    from pixelreasoner.chat.chat_format import Wording
    from pixelreasoner.core.errors import ConfigError
    from pixelreasoner.core.recipe import find_recipe, load_recipe

    if recipe is None:
        if checkpoint is None or out is None:
            raise ConfigError("say for which model and where to: --recipe RECIPE, or --checkpoint and --out")
        return checkpoint, Wording(), out
    # torch takes seconds to import, and is needed for a recipe only.
    from pixelreasoner.train.sft import SFTConfig

    config = load_recipe(SFTConfig, find_recipe(recipe))
    return checkpoint or config.model.checkpoint, config.interaction.wording, out or config.data
