"""The reference of all recipe keys: in `--help` of their commands, and as a page of the documentation.

The configurations are part of modules that import torch, which takes seconds; `--help` reads what was
written beforehand instead. `make docs`, which is `python -m pixelreasoner.cli.recipe_reference`, writes both
files anew after a change of a configuration.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from pixelreasoner.cli.recipe_commands import RECIPE_COMMANDS, config_class
from pixelreasoner.core.recipe_keys import RecipeKey, recipe_keys

KEYS_FILE = Path(__file__).with_name("recipe_keys.json")
PAGE = Path(__file__).parents[3] / "docs" / "recipes.md"
"""In a checkout."""
MAX_WIDTH = 100
INDENT = "      "
INTRODUCTION = """\
# Recipes: every key

<!-- Written by `make docs` from the configurations; changes go into the words beneath their fields. -->

`synth`, `sft`, `rl`, `eval` and `pretrain` run a recipe: a TOML file, the name of a shipped one
(`pixelreasoner recipes` lists them), or the folder of a run, whose `config.toml` is its recipe. `key=value`
on the command line goes over the file, and the file over the defaults below. `--help` of a command prints the
same keys.

```bash
pixelreasoner rl nano/rl steps=20 optim.lr=1e-4 interaction.limits.max_operations=2
pixelreasoner rl mine.toml 'tasks.kinds=["count", "page"]' --out runs/mine
pixelreasoner rl runs/mine --resume                    # goes on with the recipe it was started with
pixelreasoner recipes nano/rl > mine.toml              # a copy to change
```

`optim.lr` is the key `lr` in the section `[optim]`. `NAME` stands for any name, `[]` for each table of a list
(`[[tasks.mixture]]`). TOML has no null: where a meaning speaks of None, leave the key out.
"""


def recorded_keys(command: str) -> list[RecipeKey]:
    """The keys of a command's recipe, as `make docs` wrote them down."""
    tables = json.loads(KEYS_FILE.read_text(encoding="utf-8"))
    return [RecipeKey(**table) for table in tables[command]]


def keys_of(command: str) -> list[RecipeKey]:
    """The keys of a command's recipe, from its configuration."""
    return recipe_keys(config_class(RECIPE_COMMANDS[command]))


def keys_text(keys: Sequence[RecipeKey], width: int) -> str:
    """The keys for a terminal: the key as it is written, what it may be, and its meaning below."""
    width = min(width, MAX_WIDTH)
    lines = ["Keys of the recipe and of KEY=VALUE (None: left out):", ""]
    for key in keys:
        unset = "required" if key.required else "" if key.default else "not set"
        values = f"({', '.join(filter(None, (key.values, unset)))})"
        if key.values == "section":
            lines += ["", f"  [{key.name}]"]
        else:
            first = f"  {key.name} = {key.default}" if key.default else f"  {key.name}"
            lines += _wrapped([first, values], width)
        lines += textwrap.wrap(key.meaning, width, initial_indent=INDENT, subsequent_indent=INDENT)
    return "\n".join(lines) + "\n"


def _wrapped(parts: Sequence[str], width: int) -> Iterator[str]:
    """The parts on one line where it fits; else the second one on a line of its own."""
    if len("  ".join(parts)) <= width:
        yield "  ".join(parts)
        return
    yield from textwrap.wrap(parts[0], width, subsequent_indent=INDENT, break_on_hyphens=False)
    yield from textwrap.wrap(parts[1], width, initial_indent=INDENT, subsequent_indent=INDENT)


def page(keys: Mapping[str, Sequence[RecipeKey]]) -> str:
    """The page of the documentation: a part for each command, a table for each section."""
    parts = [INTRODUCTION]
    for command, those in keys.items():
        parts.append(f"\n## {command}\n\n{RECIPE_COMMANDS[command].summary}\n")
        about = {key.name: key.meaning for key in those if key.values == "section"}
        for section, inside in groupby((k for k in those if k.values != "section"), _section_of):
            if section:
                parts.append(f"\n**`[{section}]`** {about.get(section, '')}\n".replace(" \n", "\n"))
            parts.append("\n| key | default | may be | meaning |\n|---|---|---|---|\n")
            parts += [_row(key) for key in inside]
    return "".join(parts)


def _section_of(key: RecipeKey) -> str:
    return key.name.rpartition(".")[0]


def _row(key: RecipeKey) -> str:
    default = f"`{key.default}`" if key.default else "*required*" if key.required else "None"
    cells = (f"`{key.name.rpartition('.')[2]}`", default, key.values, key.meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def write() -> None:
    """Write both files from the configurations."""
    keys = {command: keys_of(command) for command in RECIPE_COMMANDS}
    tables = {command: [asdict(key) for key in those] for command, those in keys.items()}
    KEYS_FILE.write_text(keys_json(tables), encoding="utf-8")
    PAGE.write_text(page(keys), encoding="utf-8")


def keys_json(tables: Mapping[str, Sequence[Mapping[str, object]]]) -> str:
    """A line per key, so that a change of one is a change of a line."""
    commands = [
        f"{json.dumps(command)}: [\n" + ",\n".join(json.dumps(t, ensure_ascii=False) for t in those) + "\n]"
        for command, those in tables.items()
    ]
    return "{\n" + ",\n".join(commands) + "\n}\n"


if __name__ == "__main__":
    write()
