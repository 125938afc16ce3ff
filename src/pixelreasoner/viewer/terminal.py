"""Trajectories on a terminal: questions, messages, calls and observations."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import SCORE_METRIC, Observation, Trajectory
from pixelreasoner.viewer.steps import call_text, masked_note, written_text


def print_trajectory(console: Console, trajectory: Trajectory) -> None:
    """Print the whole trajectory, in reading order."""
    print_task(console, trajectory.task)
    for turn in trajectory.turns:
        if text := written_text(turn):
            console.print(Text(text))
        if turn.call is not None:
            print_call(console, turn.call)
        if turn.observation is not None:
            print_observation(console, turn.observation)
        if turn.masked is not None:
            console.print(Padding(f"[dim]({masked_note(turn)})[/]", (0, 0, 0, 2)))
    print_outcome(console, trajectory)


def print_task(console: Console, task: Task) -> None:
    """Print the question and its media."""
    console.print(Rule(style="dim"))
    console.print(Text(task.question, style="bold"))
    media = ", ".join(
        f"image {item.size.width}×{item.size.height}"
        if isinstance(item, Picture)
        else f"video of {len(item.frames)} frames {item.size.width}×{item.size.height}"
        for item in task.media
    )
    console.print(
        Text(
            " · ".join(part for part in (task.kind if task.kind != "open" else "", media) if part),
            style="dim",
        )
    )
    console.print()


def print_call(console: Console, call: ToolCall) -> None:
    """Print a call of an operation."""
    console.print(Text("  ▸ ", style="bold yellow") + Text(call_text(call), style="yellow"))


def print_observation(console: Console, observation: Observation) -> None:
    """Print the observation of a call, or its error."""
    if not observation.valid:
        console.print(Text(f"  ✗ {observation.text.strip()}", style="red"))
        return
    parts = [observation.text.strip().rstrip(":")]
    if observation.box is not None:
        b = observation.box
        parts.append(f"pixels {b.x1:.0f}, {b.y1:.0f} to {b.x2:.0f}, {b.y2:.0f}")
    console.print(Text(f"  ✓ {' · '.join(p for p in parts if p)}", style="green"))


def print_outcome(console: Console, trajectory: Trajectory) -> None:
    """Print the answer, the reference answers and the scores."""
    answer = trajectory.answer
    line = (
        f"\n[bold]Answer[/] {'[red]none given[/]' if answer is None else f'[bold cyan]{escape(answer)}[/]'}"
    )
    if trajectory.stop != "answer":
        line += f" [dim](stopped by {trajectory.stop.replace('_', ' ')})[/]"
    if trajectory.task.answers:
        line += f"   [dim]reference[/] {escape(' or '.join(trajectory.task.answers))}"
    if (correct := trajectory.metrics.get(SCORE_METRIC)) is not None:
        line += "   [green]✓ right[/]" if correct > 0.5 else "   [red]✗ wrong[/]"
    console.print(line, highlight=False)
    if trajectory.metrics:
        scores = "  ".join(f"{name} {value:.4g}" for name, value in trajectory.metrics.items())
        console.print(Text(scores, style="dim"))
    console.print()
