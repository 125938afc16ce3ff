"""`pixelreasoner evidence`: what the operations of a model were worth, by controls of its evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pixelreasoner.cli.options import option
from pixelreasoner.cli.recipe_commands import Overrides, Recipe


def evidence(
    recipe: Recipe,
    overrides: Overrides = (),
    *,
    out: Annotated[Path, option("DIR")],
    base: Annotated[str | None, option("CHECKPOINT")] = None,
) -> None:
    """What the operations of a model were worth.

    Evaluates the same tasks plainly, without operations, and with grey pictures, random regions and another
    question's crops in the place of what operations return. Writes one evaluation folder for each,
    evidence.json and a page. What is there already stays: the same command goes on after an interruption.

    Args:
        recipe: A recipe of `eval`: a TOML file, the name of a shipped one, or the folder of an evaluation.
        overrides: Values to change, as key=value or section.key=value.
        out: The folder of the evidence.
        base: The checkpoint before training, or the folder of its evidence: adds what of the gain over it
            came from the operations.
    """
    from rich.padding import Padding
    from rich.text import Text

    from pixelreasoner.cli.ending import say_done
    from pixelreasoner.cli.recipe_commands import resolve
    from pixelreasoner.core.terminal import TerminalConsole, visible
    from pixelreasoner.evals.evidence_run import examples, run
    from pixelreasoner.evals.evidence_table import EVIDENCE_FILE, evidence_rows
    from pixelreasoner.evals.run import EvalConfig
    from pixelreasoner.viewer.evidence import write_evidence

    config = resolve("eval", EvalConfig, recipe, overrides, out)
    found = run(config, base=base)
    page = out / "evidence.html"
    write_evidence(
        page,
        found,
        rows=[(name, cell) for name, (cell,) in evidence_rows({"": found})],
        examples=examples(out),
    )
    console = TerminalConsole()
    console.print(Text(visible(found["verdict"]), style="bold"))
    for line in found["sentences"]:
        console.print(Padding(Text(visible(line)), (0, 0, 0, 2)))
    say_done({"Evidence": out / EVIDENCE_FILE, "Page": page})
