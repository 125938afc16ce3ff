"""`pixelreasoner convert`: the published warm-start trajectories, as a file for `sft`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from pixelreasoner.cli.options import option

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixelreasoner.chat.chat_format import Wording
    from pixelreasoner.cli.box_report import BoxReport
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
    check: Annotated[Path | None, option("FAULTS.jsonl")] = None,
    references: Annotated[str | None, option("FILE|SOURCE")] = None,
    ocr: Annotated[bool, option()] = False,
    sound_only: Annotated[bool, option()] = False,
) -> None:
    """Convert or check the published warm-start trajectories for `sft`.

    With the recipe of the tuning they are written for its model, in its words and at its pixel budgets, to
    the file that it reads. Rows that cannot be used are counted with their reasons. With --check alone,
    nothing is written but the list of faults.

    Args:
        source: PixelReasoner-SFT-Data: its folder, a file of its rows, or its name on the hub.
        recipe: Of `sft`: the model, the words, and where the data lie.
        checkpoint: The model that is to learn from them, in place of the recipe's.
        out: Where to write them, in place of the recipe's; pictures go to media/ beside it.
        mask: What is not learned. paper: the calls of wrong operations. released: all but the last two
            messages, as the authors' code. none: nothing.
        keep_replies: Keep the data set's lines before results, in place of the checkpoint's.
        limit: Write so many at most.
        check: Compare each crop with the part of its picture that its box names, and list the rows with
            something that does not hold in this file.
        references: With --check: tasks with the answers that are known, by the ids of the rows.
        ocr: With --check: look for the answer in the last crop, too (the extra ocr). For answers that are
            text of the picture.
        sound_only: With --check: leave out the rows that are listed.
    """
    from itertools import islice

    from pixelreasoner.cli.ending import say_done
    from pixelreasoner.core.errors import ConfigError, RecordError
    from pixelreasoner.core.progress_line import tracked
    from pixelreasoner.core.records import write_trajectories
    from pixelreasoner.core.terminal import TerminalConsole, visible
    from pixelreasoner.tasks.datasets.pixelreasoner_sft import SftTrajectories

    if check is None and (references is not None or ocr or sound_only):
        raise ConfigError("--references, --ocr and --sound-only belong to a check: give --check FAULTS.jsonl")
    only_check = check is not None and recipe is None and checkpoint is None and out is None
    written = None if only_check else _Written.of(recipe, checkpoint, out, keep_replies)
    found = SftTrajectories(source, mask=mask)
    boxes = None if check is None else _box_report(check, references, ocr)
    passing = iter(found) if boxes is None else boxes.passing(found, sound_only=sound_only)
    total = len(found) if limit is None else min(limit, len(found))
    passing = tracked(islice(passing, limit), "check" if written is None else "convert", total=total)
    if written is None:
        n = sum(1 for _ in passing)
    else:
        write_trajectories(written.out, map(written, passing))
        n = written.n
    report = found.report
    if not report.forms:
        raise RecordError("\n".join([f"{report.name} has no usable row", *report.lines()]))
    if n == 0:
        raise RecordError(f"{report.name}: no row is sound; {check} says what does not hold")
    lines = [f"{written.out if written else source}: {n} of {report.rows} rows"]
    lines += [f"  {form}: {n}" for form, n in sorted(report.forms.items())]
    lines += [*report.lines(), *(() if boxes is None else boxes.lines())]
    console = TerminalConsole()
    for line in lines:
        console.print(visible(line), markup=False, highlight=False, soft_wrap=True)
    then = {} if written is None else {"Look": shlex.join(["show", str(written.out), "--table"])}
    if recipe is not None:
        then["Next"] = shlex.join(["sft", str(recipe)])
    say_done({} if check is None else {"Faults": check}, then)


def _box_report(path: Path, references: str | None, ocr: bool) -> BoxReport:
    from pixelreasoner.cli.box_report import BoxReport, known_answers, text_check
    from pixelreasoner.rewards.scorers import build_scorer
    from pixelreasoner.tasks.datasets.sft_boxes import BoxCheck

    reads = text_check() if ocr else None
    return BoxReport(path, BoxCheck(build_scorer(), known_answers(references), reads))


class _Written:
    """Writes trajectories anew for a checkpoint, and counts them."""

    def __init__(self, out: Path, rewrite: Callable[[Trajectory], Trajectory]) -> None:
        self.out, self._rewrite, self.n = out, rewrite, 0

    @classmethod
    def of(
        cls, recipe: Path | None, checkpoint: str | None, out: Path | None, keep_replies: bool
    ) -> _Written:
        """For the model and the file that the options name."""
        from pixelreasoner.chat.chat_format import ChatFormat
        from pixelreasoner.chat.checkpoint_files import vision_spec
        from pixelreasoner.chat.families import family_of
        from pixelreasoner.chat.rerender import rewrite_texts
        from pixelreasoner.core.errors import RecordError
        from pixelreasoner.models.checkpoints import checkpoint_folder
        from pixelreasoner.tasks.datasets.pixelreasoner_sft import with_replies

        name, wording, path = _target(recipe, checkpoint, out)
        if path.suffix != ".jsonl":
            raise RecordError(f"--out {path}: end the name in .jsonl")
        folder = checkpoint_folder(name)
        family, chat_format = family_of(folder), ChatFormat.load(folder).with_wording(wording)
        vision = vision_spec(folder, family, chat_format)

        def rewrite(trajectory: Trajectory) -> Trajectory:
            if not keep_replies:
                trajectory = with_replies(trajectory, chat_format.crop_reply, chat_format.frames_reply)
            return rewrite_texts(trajectory, vision, family.syntax)

        return cls(path, rewrite)

    def __call__(self, trajectory: Trajectory) -> Trajectory:
        """The trajectory, written anew."""
        self.n += 1
        return self._rewrite(trajectory)


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
