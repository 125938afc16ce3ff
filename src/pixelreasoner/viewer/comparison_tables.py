"""The tables of a comparison, from the mappings that evaluations, comparisons and evidence leave on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pixelreasoner.viewer.tables import Cell, Table, share_cells

NONE = Cell("–")
TESTS = {"mcnemar": "McNemar", "sign_flip": "sign flips"}


def found(table: Any, *keys: str) -> Any:
    """Return a value of a nested mapping; None where a key is missing on the way."""
    for key in keys:
        table = cast(Mapping[str, Any], table).get(key) if isinstance(table, Mapping) else None
    return table


# ------------------------------------------------------------------------------------------ all tasks


def overview(summaries: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return a row per run over all tasks; the best cell of each column is marked."""
    columns: list[tuple[str, list[Cell]]] = [("tasks", [_number(s.get("n")) for s in summaries.values()])]
    for key, name in (("accuracy", "accuracy"), ("rapr", "RaPR")):
        for part, words in (("all", "all"), ("needs_operation", "needs operation")):
            shares = [found(s, key, part) for s in summaries.values()]
            intervals = [found(s, "interval95", key, part) for s in summaries.values()]
            if any(share is not None for share in shares):
                columns.append((f"{name}, {words}", share_cells(shares, intervals, largest=True)))
    for name in dict.fromkeys(n for s in summaries.values() for n in found(s, "scores") or {}):
        shares = [found(s, "scores", name, "all") for s in summaries.values()]
        intervals = [found(s, "interval95", "scores", name, "all") for s in summaries.values()]
        columns.append((name, share_cells(shares, intervals, largest=True)))
    errors = [s.get("op_error_rate") for s in summaries.values()]
    columns.append(("failed operations", share_cells(errors, [None] * len(errors), largest=False)))
    for key, name in (("turns", "turns"), ("sampled_tokens", "tokens"), ("visual_tokens", "visual tokens")):
        means = [found(s, "per_rollout", key, "mean") for s in summaries.values()]
        if any(mean is not None for mean in means):
            columns.append((f"{name} per rollout", [_number(mean) for mean in means]))
    return _table("All tasks", list(summaries), columns)


# ----------------------------------------------------------------------------------------- paired tests


def paired_table(comparison: Mapping[str, Any]) -> Table | None:
    """Return the paired tests, a row per pair; None where there are none.

    Keys read of each of `pairs`, all but the names optional: `a`, `b`, `n`; `difference` (of the score, `b`
    less `a`) and `bootstrap95`; `only_a`, `only_b`: tasks that one alone gets right; `test`, `p`, `p_holm`.
    """
    pairs: Sequence[Mapping[str, Any]] = comparison.get("pairs") or []
    if not pairs:
        return None
    tests = {TESTS.get(str(pair.get("test")), "") for pair in pairs}
    columns = ["tasks", "difference, points", "first only right", "second only right"]
    columns += [f"p, {tests.pop()}" if len(tests) == 1 and "" not in tests else "p"]
    columns += ["p after Holm"] if len(pairs) > 1 else []
    rows = [(f"{pair['b']} − {pair['a']}", _paired_cells(pair)[: len(columns)]) for pair in pairs]
    return Table("The same tasks, in pairs: second − first", tuple(columns), tuple(rows))


def _paired_cells(pair: Mapping[str, Any]) -> tuple[Cell, ...]:
    difference, interval = pair.get("difference"), pair.get("bootstrap95")
    sure = interval is not None and (interval[0] > 0 or interval[1] < 0)
    return (
        _number(pair.get("n")),
        NONE if difference is None else Cell(_points(difference), sure, _range(interval)),
        _number(pair.get("only_a")),
        _number(pair.get("only_b")),
        _p_value(pair.get("p")),
        _p_value(pair.get("p_holm")),
    )


def _p_value(p: float | None) -> Cell:
    return NONE if p is None else Cell("< 0.001" if p < 0.001 else f"{p:.3f}")


# --------------------------------------------------------------------------------------------- evidence


@dataclass(frozen=True)
class EvidencePart:
    """What the operations of one run were worth."""

    name: str
    verdict: str
    sentences: tuple[str, ...]
    table: Table | None


def evidence_tables(evidence: Mapping[str, Mapping[str, Any]]) -> list[EvidencePart]:
    """Return, for each run, its sentences and its gain and harm counts, as `evidence.json` holds them."""
    parts: list[EvidencePart] = []
    for name, held in evidence.items():
        every = held.get("all") or {}
        counts = [
            ("calling, where it called", every.get("call")),
            ("the schema alone, where it did not call", every.get("schema")),
            *(
                (f"its results instead of {control.replace('_', ' ')}", pair)
                for control, pair in (every.get("pixels") or {}).items()
            ),
        ]
        rows = [(words, _gain_cells(pair)) for words, pair in counts if pair is not None]
        columns = ("tasks", "gain", "harm", "net, points")
        table = Table("Right with it only, and without it only", columns, tuple(rows)) if rows else None
        parts.append(
            EvidencePart(name, str(held.get("verdict", "")), tuple(held.get("sentences") or ()), table)
        )
    return parts


def _gain_cells(pair: Mapping[str, Any]) -> tuple[Cell, ...]:
    net = pair.get("net") or {}
    mean, interval = net.get("mean"), net.get("interval95")
    sure = interval is not None and (interval[0] > 0 or interval[1] < 0)
    return (
        _number(pair.get("n")),
        _number(pair.get("gain")),
        _number(pair.get("harm")),
        NONE if mean is None else Cell(_points(mean), sure, _range(interval)),
    )


# --------------------------------------------------------------------------------------------- protocol


@dataclass(frozen=True)
class Protocols:
    """What the figures of several runs depend on, a row per key."""

    differing: Table | None
    same: Table | None


def protocol_tables(protocols: Mapping[str, Mapping[str, Any]]) -> Protocols:
    """Return the keys in which runs differ, and those in which they do not."""
    flat = {name: dict(_leaves(protocol)) for name, protocol in protocols.items() if protocol}
    if not flat:
        return Protocols(None, None)
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    rows = {key: [values.get(key, _ABSENT) for values in flat.values()] for key in keys}
    differing = {key: values for key, values in rows.items() if any(v != values[0] for v in values)}
    same = {key: values[:1] for key, values in rows.items() if key not in differing}
    return Protocols(
        _text_table("Where they differ", tuple(flat), differing),
        _text_table("The same in all", ("all",) if len(flat) > 1 else tuple(flat), same),
    )


_ABSENT = object()


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a nested mapping with their keys, joined by points; lists are values."""
    if isinstance(value, Mapping) and value:
        for key, inner in cast(Mapping[str, Any], value).items():
            yield from _leaves(inner, f"{place}.{key}" if place else str(key))
    else:
        yield place, value


def _text_table(caption: str, columns: tuple[str, ...], rows: Mapping[str, Sequence[Any]]) -> Table | None:
    cells = [(key, tuple(Cell(_text(value)) for value in values)) for key, values in rows.items()]
    return Table(caption, columns, tuple(cells)) if cells else None


def _text(value: Any) -> str:
    if value is _ABSENT:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# ---------------------------------------------------------------------------------------------- overlap


def overlap_lines(overlap: Mapping[str, Any]) -> list[str]:
    """Return what a check for overlap found, in sentences; none where there was no check.

    Keys read: `a`, `b` ({"name", "tasks"}), `found` {"name", "exact", "near", "question", "any": tasks of b}.
    """
    if not overlap:
        return []
    a, b, counts = (overlap.get(key) or {} for key in ("a", "b", "found"))
    n = b.get("tasks", 0)
    lines = [f"{counts.get('any', 0)} of {n} tasks of {b.get('name')} overlap with {a.get('name')}."]
    words = {
        "name": "share a name or an id",
        "exact": "share a picture, pixel for pixel",
        "near": "share a picture that was resized, recompressed or cropped",
        "question": "ask a question that is asked there, too, which alone is no overlap",
    }
    return [*lines, *(f"{counts[key]} {text}." for key, text in words.items() if counts.get(key))]


# ----------------------------------------------------------------------------------------------- cells


def _table(caption: str, names: Sequence[str], columns: Sequence[tuple[str, list[Cell]]]) -> Table:
    rows = [(name, tuple(cells[i] for _, cells in columns)) for i, name in enumerate(names)]
    return Table(caption, tuple(name for name, _ in columns), tuple(rows))


def _number(value: float | None) -> Cell:
    if value is None:
        return NONE
    return Cell(f"{value:,}" if isinstance(value, int) else f"{value:,.1f}")


def _points(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def _range(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{_points(interval[0])} to {_points(interval[1])}"
