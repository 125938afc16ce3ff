"""Trajectories on a terminal: questions, messages, calls and observations."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Task
from pixelreasoner.core.terminal import visible, visible_line
from pixelreasoner.core.trajectory import SCORE_METRIC, Observation, Trajectory
from pixelreasoner.viewer.roles import operation_roles, template_of
from pixelreasoner.viewer.steps import call_text, masked_note, number, weight_versions, written_text

MAX_CELL = 22
"""Characters of a cell of a table; longer ones are cut."""
TEXT_COLUMNS = ("task", "template", "turned down", "stop", "answer")


def print_trajectory(console: Console, trajectory: Trajectory) -> None:
    """Print the whole trajectory, in reading order."""
    print_task(console, trajectory.task)
    for turn, role in zip(trajectory.turns, operation_roles(trajectory), strict=True):
        if text := written_text(turn):
            console.print(Text(visible(text)))
        if turn.call is not None:
            print_call(console, turn.call)
        if turn.observation is not None:
            print_observation(console, turn.observation)
        if turn.masked is not None:
            console.print(Padding(f"[dim]({masked_note(turn, role)})[/]", (0, 0, 0, 2)))
    print_outcome(console, trajectory)


def print_task(console: Console, task: Task) -> None:
    """Print the question and its media."""
    console.print(Rule(style="dim"))
    if task.is_seed:
        console.print(Text("The question is still to be written.", style="dim"))
    else:
        console.print(Text(visible(task.question), style="bold"))
    media = ", ".join(
        f"image {item.size.width}×{item.size.height}"
        if isinstance(item, Picture)
        else f"video of {len(item.frames)} frames {item.size.width}×{item.size.height}"
        for item in task.media
    )
    kind = visible_line(task.kind) if task.kind != "open" else ""
    console.print(Text(" · ".join(part for part in (kind, media) if part), style="dim"))
    console.print()


def print_call(console: Console, call: ToolCall) -> None:
    """Print a call of an operation."""
    console.print(Text("  ▸ ", style="bold yellow") + Text(visible(call_text(call)), style="yellow"))


def print_observation(console: Console, observation: Observation) -> None:
    """Print the observation of a call, or its error."""
    if not observation.valid:
        console.print(Text(f"  ✗ {visible(observation.text.strip())}", style="red"))
        return
    parts = [visible(observation.text.strip().rstrip(":"))]
    if observation.box is not None:
        b = observation.box
        parts.append(f"pixels {b.x1:.0f}, {b.y1:.0f} to {b.x2:.0f}, {b.y2:.0f}")
    if observation.replaced:
        parts.append(f"shown instead: {visible_line(observation.replaced)}")
    console.print(Text(f"  ✓ {' · '.join(p for p in parts if p)}", style="green"))


def print_outcome(console: Console, trajectory: Trajectory) -> None:
    """Print the answer, the reference answers and the scores."""
    answer = trajectory.answer
    line = Text.assemble(
        ("\nAnswer", "bold"),
        " ",
        ("none given", "red") if answer is None else (visible(answer), "bold cyan"),
    )
    if trajectory.stop != "answer":
        line.append(f" (stopped by {trajectory.stop.replace('_', ' ')})", style="dim")
    if trajectory.task.answers:
        line.append("   reference ", style="dim").append(visible(" or ".join(trajectory.task.answers)))
    if (correct := trajectory.metrics.get(SCORE_METRIC)) is not None:
        line.append(*(("   ✓ right", "green") if correct > 0.5 else ("   ✗ wrong", "red")))
    console.print(line)
    if trajectory.rejection:
        console.print(Text(f"✗ turned down · {visible_line(trajectory.rejection)}", style="red"))
    if trajectory.metrics:
        values = trajectory.metrics.items()
        scores = "  ".join(f"{visible_line(name)} {number(value)}" for name, value in values)
        if (weights := weight_versions(trajectory)) is not None:
            scores += f"  weights {weights}"
        console.print(Text(scores, style="dim"))
    console.print()


def trajectory_table(trajectories: Sequence[Trajectory], *, width: int) -> Table:
    """Return a line per trajectory: what became of it, and all its metrics that there is room for.

    Args:
        trajectories: in the order to show them.
        width: of the terminal, in columns.
    """
    columns = _columns(trajectories)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    left_out: list[str] = []
    for name, cells in columns.items():
        needed = min(MAX_CELL, max(len(name), *map(len, cells))) + 2
        width -= needed
        if width < -2:  # the last column needs no gap
            left_out.append(name)
            width += needed
            continue
        text = name in TEXT_COLUMNS
        table.add_column(
            Text(name),
            justify="left" if text else "right",
            overflow="ellipsis",
            no_wrap=True,
            max_width=MAX_CELL,
        )
    shown = [cells for name, cells in columns.items() if name not in left_out]
    for row in zip(*shown, strict=True):
        table.add_row(*map(Text, row))
    if left_out:
        table.caption = Text(f"in a wider terminal: {', '.join(left_out)}")
    return table


def _columns(trajectories: Sequence[Trajectory]) -> dict[str, list[str]]:
    """Return the cells of each column by its name, the most telling columns first."""
    metrics = list(dict.fromkeys(name for y in trajectories for name in y.metrics))
    values = {
        visible_line(n): [number(y.metrics[n]) if n in y.metrics else "" for y in trajectories]
        for n in metrics
    }
    written = any(map(template_of, trajectories))
    rejected = any(y.rejection for y in trajectories)
    first, others = dict(list(values.items())[:4]), dict(list(values.items())[4:])
    return {
        "task": [visible_line(y.task.id) for y in trajectories],
        **({"template": [template_of(y).replace("_", " ") for y in trajectories]} if written else {}),
        **({"turned down": [visible_line(y.rejection) for y in trajectories]} if rejected else {}),
        **first,
        "operations": [str(y.n_operations) for y in trajectories],
        "stop": [y.stop.replace("_", " ") for y in trajectories],
        "answer": ["–" if y.answer is None else visible_line(y.answer) for y in trajectories],
        **others,
        "failed": [str(y.n_invalid_operations) for y in trajectories],
        "tokens": [str(y.n_sampled_tokens) for y in trajectories],
    }
