"""`pixelreasoner render`: recorded trajectories for another checkpoint."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from pixelreasoner.cli.options import option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pixelreasoner.core.trajectory import Trajectory


def render(
    file: Annotated[tyro.conf.Positional[Path], option("FILE.jsonl")],
    *,
    checkpoint: Annotated[str, option("NAME")],
    out: Annotated[Path, option("OUT.jsonl")],
    texts_only: Annotated[bool, option()] = False,
) -> None:
    """Write trajectories anew for another checkpoint.

    They get its coordinates, its calls and its tokens. The regions stay: the numbers of each box are written
    from the region on record. A call that showed nothing has no region; where coordinates change, its message
    is kept and no longer trained on.

    Args:
        file: Trajectories of a synthesis, a training run or an evaluation.
        checkpoint: The model that is to read them: a folder, "nano", or a hub id.
        out: Where to write them; pictures go to media/ beside it.
        texts_only: Write no tokens: training writes them, with the operations and the words of its recipe.
    """
    from pixelreasoner.chat.families import family_of
    from pixelreasoner.chat.rerender import rerender, rewrite_texts
    from pixelreasoner.cli.ending import say_done
    from pixelreasoner.core.errors import RecordError
    from pixelreasoner.core.records import read_trajectories, write_trajectories
    from pixelreasoner.core.terminal import TerminalConsole
    from pixelreasoner.env.interaction import Interaction
    from pixelreasoner.models.checkpoints import checkpoint_folder
    from pixelreasoner.models.vlm import renderer_of

    if out.suffix != ".jsonl":
        raise RecordError(f"--out {out}: end the name in .jsonl")
    folder = checkpoint_folder(checkpoint)
    renderer, syntax = renderer_of(folder), family_of(folder).syntax
    toolbox = Interaction().toolbox(renderer.vision.unit, renderer.chat_format)
    tools = () if toolbox is None else toolbox.schemas
    counts = {"trajectories": 0, "messages that changed": 0, "messages newly masked": 0}

    def rendered() -> Iterator[Trajectory]:
        for old in read_trajectories(file, tolerate_truncation=True):
            if texts_only:
                new = rewrite_texts(old, renderer.vision, syntax, tools)
            else:
                new = rerender(old, renderer, syntax, tools)
            pairs = list(zip(old.turns, new.turns, strict=True))
            counts["trajectories"] += 1
            counts["messages that changed"] += sum(a.text != b.text for a, b in pairs)
            masked = (a.masked is None and b.masked is not None for a, b in pairs)
            counts["messages newly masked"] += sum(masked)
            yield new
        if not counts["trajectories"]:
            raise RecordError(f"{file} holds no trajectories")

    write_trajectories(out, rendered())
    summary = ", ".join(f"{n} {what}" for what, n in counts.items())
    TerminalConsole().print(f"{out}: {summary}", markup=False, highlight=False, soft_wrap=True)
    say_done({}, {"Look": shlex.join(["show", str(out), "--table"])})
