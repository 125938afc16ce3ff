"""`pixelreasoner ask`: one question about images or a video, answered as you watch."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from rich.console import Console

    from pixelreasoner.env.events import Event

CALL_OPENS = "<tool_call>"


def ask(
    inputs: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="FILE... QUESTION")],
    *,
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None,
    device: str | None = None,
    dtype: Literal["auto", "fp32", "bf16"] | None = None,
    recipe: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    save: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
    max_operations: Annotated[int | None, tyro.conf.arg(metavar="N")] = None,
) -> None:
    """Ask a question about images or a video.

    Args:
        inputs: Images, or a video, and last the question in quotes.
        model: A shipped checkpoint ("nano", the default), the folder of one, or a hub id.
        device: auto, cpu, cuda, cuda:1, ...
        dtype: Of the weights; auto is fp32 on a CPU and bf16 on an accelerator.
        recipe: A TOML file with the tables [model] and [interaction]; the options above go before it.
        save: Write the reasoning to a page (.html) or to a record (.jsonl).
        as_json: Print the trajectory as JSON and nothing else.
        max_operations: The most visual operations to allow.
    """
    files, question = _checked(inputs, save)

    from rich.console import Console

    from pixelreasoner.api import AskConfig, load_config
    from pixelreasoner.core.recipe import find_recipe, load_recipe
    from pixelreasoner.viewer.save import save as save_trajectory

    given = {"model.checkpoint": model, "model.device": device, "model.dtype": dtype}
    overrides = [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    config = load_recipe(AskConfig, find_recipe(recipe) if recipe is not None else None, overrides)
    console = Console(quiet=as_json, highlight=False)
    stream = Stream(console)
    with console.status(f"loading {config.model.checkpoint}"):
        reasoner = load_config(config)
    console.print(f"[bold]{', '.join(f.name for f in files)}[/]")
    trajectory = reasoner.ask(files, question, max_operations=max_operations, on_event=stream)
    if save is not None:
        save_trajectory(trajectory, save)
        console.print(f"[dim]{save}[/]")
    if as_json:
        from pixelreasoner.core.records import trajectory_to_json

        sys.stdout.write(json.dumps(trajectory_to_json(trajectory), indent=2) + "\n")


def _checked(inputs: tuple[str, ...], save: Path | None) -> tuple[list[Path], str]:
    """The files and the question. What is wrong is said here, before a model is loaded for nothing.

    Raises:
        PixelReasonerError: there is no file, no question, a file that does not exist, or no way to save.
    """
    from pixelreasoner.core.errors import MediaError, PixelReasonerError, RecordError
    from pixelreasoner.core.files import check_writable
    from pixelreasoner.viewer.save import SAVE_SUFFIXES

    if len(inputs) < 2:
        raise PixelReasonerError(
            'give at least one file and, last, the question: ask photo.jpg "What is ...?"'
        )
    *names, question = inputs
    files = [Path(name) for name in names]
    for file in files:
        if not os.path.exists(file):
            raise MediaError(f"{file} does not exist (the question goes last, in quotes)")
    if os.path.isfile(question):
        raise PixelReasonerError(
            f"the last argument is a file ({question}); put the question after it, in quotes"
        )
    if save is not None and save.suffix not in SAVE_SUFFIXES:
        raise RecordError(f"--save {save}: end the name in {' or '.join(SAVE_SUFFIXES)}")
    if save is not None:
        check_writable(save)
    return files, question


class Stream:
    """Shows a rollout as it happens.

    The markup of a call is held back: the call itself follows at once in a readable form. A call that
    could not be read is shown as the model wrote it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._held = ""
        self._mid_line = False

    def __call__(self, event: Event) -> None:
        """Show one event."""
        from pixelreasoner.env.events import Finished, OperationReturned, OperationStarted, TextToken
        from pixelreasoner.viewer.terminal import print_call, print_observation, print_outcome

        match event:
            case TextToken():
                self._text(event.text)
            case OperationStarted():
                self._held = ""
                self._end_line()
                print_call(self._console, event.call)
            case OperationReturned():
                self._release()
                self._end_line()
                print_observation(self._console, event.observation)
            case Finished():
                self._release()
                self._end_line()
                print_outcome(self._console, event.trajectory)

    def _text(self, text: str) -> None:
        """Print what cannot be the beginning of a call; keep the rest."""
        text = self._held + text
        start = text.find(CALL_OPENS)
        if start < 0:
            start = next((i for i in range(len(text)) if CALL_OPENS.startswith(text[i:])), len(text))
        self._write(text[:start])
        self._held = text[start:]

    def _release(self) -> None:
        """Show what was held back and did not become a call."""
        self._write(self._held, style="dim")
        self._held = ""

    def _write(self, text: str, style: str | None = None) -> None:
        if text:
            self._console.print(text, end="", markup=False, style=style, soft_wrap=True)
            self._mid_line = not text.endswith("\n")

    def _end_line(self) -> None:
        if self._mid_line:
            self._console.print()
        self._mid_line = False
