"""`pixelreasoner ask`: one question about images or a video, or the samples, answered as you watch."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from pixelreasoner.cli.options import option
from pixelreasoner.core.errors import MediaError, PixelReasonerError, RecordError

if TYPE_CHECKING:
    from rich.console import Console

    from pixelreasoner.api import AskConfig, Reasoner
    from pixelreasoner.core.trajectory import Trajectory
    from pixelreasoner.env.events import Event

SampleName = Literal["card", "board", "page", "clip"]
LOOKS_AT_THE_WHOLE = (
    "The embedded model was never shown an operation: it looks at the whole picture, and these questions "
    "need no more. `pixelreasoner demo` (in a checkout: make demo) teaches it to zoom in on small things."
)


def ask(
    inputs: Annotated[tyro.conf.Positional[tuple[str, ...]], option("FILE... QUESTION")] = (),
    *,
    sample: Annotated[tuple[SampleName, ...] | None, option("[{card,board,page,clip} ...]")] = None,
    model: Annotated[str | None, option("NAME")] = None,
    chat_format: Annotated[str | None, option("NAME")] = None,
    device: Annotated[str | None, option("NAME")] = None,
    dtype: Annotated[Literal["auto", "fp32", "bf16"] | None, option("{auto,fp32,bf16}")] = None,
    recipe: Annotated[Path | None, option("FILE")] = None,
    save: Annotated[Path | None, option("FILE")] = None,
    as_json: Annotated[bool, option(name="json")] = False,
    max_operations: Annotated[int | None, option("N")] = None,
) -> None:
    """Ask a question about images or a video.

    Args:
        inputs: Images, or a video, and last the question in quotes.
        sample: Instead: a picture that ships with the package, and its question; without a name, all of them.
        model: A shipped checkpoint ("nano", the default), the folder of one, or a hub id.
        chat_format: Of a checkpoint that has none: "pixelreasoner-v1" for those of the paper, or a file.
        device: auto, cpu, cuda, cuda:1, ...
        dtype: Of the weights; auto is fp32 on a CPU and bf16 on an accelerator.
        recipe: A TOML file with the tables [model] and [interaction]; the options above go before it.
        save: Write the reasoning to a page (.html) or to a record (.jsonl).
        as_json: Print the trajectory as JSON and nothing else.
        max_operations: The most visual operations to allow.
    """
    _check_save(save)
    files, question = ([], "") if sample is not None else _checked(inputs)
    if sample is not None and inputs:
        raise PixelReasonerError(f"--sample brings its own question; leave out '{inputs[-1]}'")

    from rich.text import Text

    from pixelreasoner.core.terminal import TerminalConsole, visible_line

    given = {"checkpoint": model, "chat_format": chat_format, "device": device, "dtype": dtype}
    config = _config(recipe, given)
    console = TerminalConsole(quiet=as_json, highlight=False)
    with console.status(Text(f"loading {visible_line(config.model.checkpoint)}")):
        reasoner = _load(config)
    if sample is not None:
        trajectories = _ask_samples(console, reasoner, sample, max_operations)
    else:
        _warn_of_guess(reasoner, question)
        console.print(Text(visible_line(", ".join(f.name for f in files)), style="bold"))
        on_event = Stream(console)
        trajectories = [reasoner.ask(files, question, max_operations=max_operations, on_event=on_event)]
    _hand_over(console, trajectories, save, as_json)


def _config(recipe: Path | None, given: dict[str, str | None]) -> AskConfig:
    """What the recipe says, the options that are given in the place of its values."""
    from pixelreasoner.api import AskConfig
    from pixelreasoner.core.recipe import find_recipe, load_recipe

    overrides = [f"model.{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    return load_recipe(AskConfig, find_recipe(recipe) if recipe is not None else None, overrides)


def _load(config: AskConfig) -> Reasoner:
    from pixelreasoner.api import load_config

    return load_config(config)


def _ask_samples(
    console: Console, reasoner: Reasoner, names: tuple[SampleName, ...], max_operations: int | None
) -> list[Trajectory]:
    """The samples of these names, or all; each is read when its turn comes, so a clip holds up no picture."""
    from rich.text import Text

    from pixelreasoner.tasks.samples import SAMPLES, sample

    trajectories: list[Trajectory] = []
    for name in names or SAMPLES:
        task = sample(name)
        console.print(Text.assemble((name, "bold"), f"  {task.question}"))
        on_event = Stream(console)
        asked = reasoner.ask(task.media, task.question, max_operations=max_operations, on_event=on_event)
        console.print(f"[dim]reference {', '.join(task.answers)}[/]\n")
        trajectories.append(replace(asked, task=task))
    if reasoner.world is not None:
        console.print(f"[dim]{LOOKS_AT_THE_WHOLE}[/]")
    return trajectories


def _warn_of_guess(reasoner: Reasoner, question: str) -> None:
    """Say on stderr that the embedded model, or one trained from it, was never taught such a question."""
    from pixelreasoner.tasks.pixelworld.questions import EXAMPLE, is_of_this_world

    if reasoner.world is not None and not is_of_this_world(question):
        sys.stderr.write(
            f'note: this model was taught only questions of PixelWorld, such as "{EXAMPLE}", and its answer '
            "to another is a guess; `pixelreasoner ask --sample` shows what it can do\n"
        )


def _hand_over(console: Console, trajectories: list[Trajectory], save: Path | None, as_json: bool) -> None:
    if save is not None:
        from pixelreasoner.viewer.save import save as save_trajectories

        save_trajectories(trajectories, save)
    if as_json:
        from pixelreasoner.core.records import trajectory_to_json

        data = [trajectory_to_json(trajectory) for trajectory in trajectories]
        sys.stdout.write(json.dumps(data[0] if len(data) == 1 else data, indent=2) + "\n")
    else:
        _say_next(save)


def _say_next(save: Path | None) -> None:
    """What was saved and how to look at it, or how to keep an answer."""
    from pixelreasoner.cli.ending import say_done

    if save is None:
        say_done({}, {"Keep one": 'ask PICTURE "QUESTION" --save trace.html'})
    elif save.suffix == ".html":
        say_done({"Page": save})
    else:
        say_done({"Saved": save}, {"Look": shlex.join(["show", str(save)])})


def _checked(inputs: tuple[str, ...]) -> tuple[list[Path], str]:
    """The files and the question. What is wrong is said here, before a model is loaded for nothing.

    Raises:
        PixelReasonerError: there is no file, no question, or a file that does not exist.
    """
    if len(inputs) < 2:
        raise PixelReasonerError(
            'give at least one file and, last, the question: ask photo.jpg "What is ...?"; '
            "or see what the embedded model answers: ask --sample"
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
    return files, question


def _check_save(save: Path | None) -> None:
    """Refuse a place that cannot be saved to, before a model is loaded for nothing."""
    from pixelreasoner.core.files import check_writable
    from pixelreasoner.viewer.save import SAVE_SUFFIXES

    if save is not None and save.suffix not in SAVE_SUFFIXES:
        raise RecordError(f"--save {save}: end the name in {' or '.join(SAVE_SUFFIXES)}")
    if save is not None:
        check_writable(save)


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
        from pixelreasoner.chat.calls import CALL_OPEN

        text = self._held + text
        start = text.find(CALL_OPEN)
        if start < 0:
            # Only the last characters can be the beginning of one.
            ends = range(max(0, len(text) - len(CALL_OPEN) + 1), len(text))
            start = next((i for i in ends if CALL_OPEN.startswith(text[i:])), len(text))
        self._write(text[:start])
        self._held = text[start:]

    def _release(self) -> None:
        """Show what was held back and did not become a call."""
        self._write(self._held, style="dim")
        self._held = ""

    def _write(self, text: str, style: str | None = None) -> None:
        from pixelreasoner.core.terminal import visible

        if text:
            self._console.print(visible(text), end="", markup=False, style=style, soft_wrap=True)
            self._mid_line = not text.endswith("\n")

    def _end_line(self) -> None:
        if self._mid_line:
            self._console.print()
        self._mid_line = False
