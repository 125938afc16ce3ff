"""How the options of commands appear in `--help`."""

from __future__ import annotations

from typing import Any

import tyro


def option(metavar: str | None = None, *, name: str | None = None) -> Any:
    """An option or argument shown as `metavar`; a default that says nothing is not shown.

    Args:
        metavar: what stands for the value; None leaves that to tyro.
        name: of the option, where it is not that of the parameter.
    """
    return tyro.conf.arg(name=name, metavar=metavar, help_behavior_hint=_hint)


def _hint(default: str) -> str:
    return "" if default in ("None", "False", "") else f"(default: {default})"
