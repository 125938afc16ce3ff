"""The evidence in plain words: what the operations of a model were worth.

Every sentence holds its figures and their 95 % intervals, and says so where a difference is within chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pixelreasoner.evals.evidence import RANDOM, SWAP, Evidence
from pixelreasoner.evals.gain_shares import BLANK, PLAIN, WITHOUT

Part = Mapping[str, Any]
SHOWN = {BLANK: "Grey pictures", RANDOM: "Random regions", SWAP: "Crops of other questions"}
"""What a control shows, in words."""


def verdict(found: Evidence) -> str:
    """One sentence: whether seeing the results of its operations makes the model right more often."""
    part: Part = found["all"]
    called = part["called"]
    if not called["mean"]:
        return "The model called no operation: it gained nothing by them."
    seen = part["pixels"].get(BLANK)
    if seen is None:
        return f"The model called an operation in {_percent(called)} of the tasks."
    low, high = seen["net"]["interval95"]
    points = f"{_points(seen['net']['mean'])} points ({_points(low)} to {_points(high)})"
    where = f"where it looked ({seen['n']} of {found['n']} tasks)"
    if low > 0:
        return f"What the operations showed was worth {points} of accuracy {where}."
    if high < 0:
        return f"What the operations showed cost {points} of accuracy {where}."
    return f"What the operations showed made no difference beyond chance {where}: {points}."


def sentences(found: Evidence) -> list[str]:
    """The evidence, "topic: sentences" for each question that a reader may ask."""
    part: Part = found["all"]
    lines = [f"Calls: it called an operation in {_percent(part['called'])} of {found['n']} tasks."]
    lines += _calling(part)
    lines += _pixels(part)
    lines += _swap(part, found["needs_operation"])
    lines += _over_base(found["over_base"])
    lines += _where(found["localisation"])
    lines += _mapping(found["box_mapping"])
    return lines


def _calling(part: Part) -> list[str]:
    lines: list[str] = []
    if (call := part["call"]) is not None:
        lines.append(
            f"With and without operations: of the {call['n']} tasks where it called, {call['gain']} are "
            f"right only with operations, and {call['harm']} only without: {_net(call)}."
            f"{_silence(part, WITHOUT)}"
        )
    if (schema := part["schema"]) is not None:
        lines.append(
            f"The offer alone: of the {schema['n']} tasks where it did not call, {schema['gain']} are right "
            f"only with operations on offer, and {schema['harm']} only without: {_net(schema)}, from the "
            f"prompt alone."
        )
    return lines


def _pixels(part: Part) -> list[str]:
    lines: list[str] = []
    for control, counts in part["pixels"].items():
        if counts is None:
            continue
        changed = part["answers"][control]["changed"]
        moved = "" if changed is None else f" The answer changed in {_percent(changed)}."
        lines.append(
            f"{SHOWN.get(control, control)}: shown in the place of each result, it is right in "
            f"{counts['both'] + counts['harm']} of the {counts['n']} tasks where it looked, and with the "
            f"results in {counts['both'] + counts['gain']}: the results are worth "
            f"{_net(counts)}.{moved}{_silence(part, control)}"
        )
    return lines


def _silence(part: Part, run: str) -> str:
    """How often a run gave no answer at all, where that is more often than in the plain run."""
    there, plain = part["unanswered"].get(run), part["unanswered"].get(PLAIN)
    if there is None or plain is None or there["interval95"][0] <= plain["interval95"][1]:
        return ""
    return (
        f" It then gives no answer in {_percent(there)} of all tasks (as it is: {100 * plain['mean']:.0f} %)."
    )


def _swap(part: Part, needing: Part | None) -> list[str]:
    found = part["swapped"]
    if found is None or not found["n"]:
        return []
    needed = None if needing is None else needing["swapped"]
    there = (
        f" Where an operation is needed, it follows in {_percent(needed['follows'])} of {needed['n']}."
        if needed is not None and needed["n"]
        else ""
    )
    chance = found["chance"]
    beside = "" if chance is None else f"; to a grey picture, {_percent(chance)} of the answers are the same"
    return [
        f"Swap audit: of {found['n']} swapped results with another answer, the model gives the answer of "
        f"what it was shown in {_percent(found['follows'])} and keeps its own in "
        f"{_percent(found['keeps'])}{beside}.{there}"
    ]


def _over_base(gain: Mapping[str, Any] | None) -> list[str]:
    if gain is None:
        return []
    total = f"Over the base: it gained {_change(gain['gain'])}"
    parts = (
        f"its accuracy without operations changed by {_change(gain['intrinsic'])}, what operations add to "
        f"that by {_change(gain['tool_induced'])}, and {_change(gain['pixels'])} are lost when their results "
        "cannot be seen"
    )
    if gain["tool_share"] is None:
        return [f"{total}, which is not above 0 beyond chance, so there is no gain to share out ({parts})."]
    more = " (more than 100 % where the rest took away)" if gain["tool_share"]["mean"] > 1 else ""
    return [
        f"{total}. {parts[0].upper()}{parts[1:]}. The tool's share of the gain is "
        f"{_percent(gain['tool_share'])}, that of the pixels {_percent(gain['pixel_share'])}{more}."
    ]


def _where(found: Mapping[str, Any]) -> list[str]:
    coverage, iou, whole = found["cue_coverage"], found["cue_iou"], found["whole_image_crops"]
    lines: list[str] = []
    if coverage is not None:
        close = "" if iou is None else f", with a mean IoU of {iou['mean']:.2f} ({_range(iou, 1, 2)})"
        lines.append(f"On the cue: {_percent(coverage)} of {coverage['n']} operations show the cue{close}.")
    if whole is not None:
        lines.append(
            f"Whole images: {_percent(whole)} of {whole['n']} crops are of the whole image, which shows "
            f"every cue and is no evidence."
        )
    return lines


def _mapping(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    ious = ", ".join(f"{name} {iou['mean']:.2f}" for name, iou in found["iou"].items())
    if found["better"] is not None:
        return [
            f"WARNING: the boxes fit the cues better when their numbers are read as {found['better']} than "
            f"as the run read them (mean IoU of {found['n']} boxes: {ious}). Check the unit of the model's "
            f"family."
        ]
    return [f"Unit of the boxes: read as it should be; mean IoU of {found['n']} boxes, {ious}."]


def _net(counts: Mapping[str, Any]) -> str:
    net = counts["net"]
    low, high = net["interval95"]
    within = "" if low > 0 or high < 0 else ", within chance"
    return f"{_points(net['mean'])} points ({_points(low)} to {_points(high)}{within})"


def _change(figure: Mapping[str, Any]) -> str:
    low, high = figure["interval95"]
    return f"{_points(figure['mean'])} points ({_points(low)} to {_points(high)})"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _percent(figure: Mapping[str, Any]) -> str:
    return f"{100 * figure['mean']:.0f} % ({_range(figure, 100, 0)})"


def _range(figure: Mapping[str, Any], scale: float, digits: int) -> str:
    low, high = figure["interval95"]
    return f"{scale * low:.{digits}f} to {scale * high:.{digits}f}"
