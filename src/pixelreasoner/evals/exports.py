"""An evaluation folder in the result formats of two other harnesses.

**lmms-eval** (EvolvingLMMs-Lab/lmms-eval, `loggers/evaluation_tracker.py` and `evaluator.py`) writes into a
folder named after the model `DATE_results.json` and, for each task, `DATE_samples_TASK.jsonl`:

* of `results.json`, these are theirs: `results` (`alias`, `METRIC,FILTER`, `METRIC_stderr,FILTER`),
  `configs`, `versions`, `n-shot`, `higher_is_better`, `n-samples` (`original`, `effective`),
  `group_subtasks`, `task_hashes`, `model_name`, `model_name_sanitized`, `model_source`; and, null here,
  those about a chat template.
* of a sample, these are theirs: `doc_id`, `input`, `target`, `resps`, `filtered_resps`, `doc_hash`,
  `prompt_hash`, `target_hash`, and a field for each metric. Several rollouts of a task are one sample, as
  their `repeats` are; its metrics are the means.

**VLMEvalKit** (open-compass/VLMEvalKit, `inference.py`, `smp/file.py`, `dataset/image_mcq.py`) writes
`MODEL_DATASET.tsv` (with PRED_FORMAT=tsv; its default, xlsx, holds the same columns) and
`MODEL_DATASET_acc.csv`:

* `index`, `question`, `A`, `B`, ..., `answer`, `category`, `prediction` are its columns; `extra_records` is
  that of its agent mode; `hit` is that of its judged table. Its own scoring joins by `index` with its own
  data set: exported predictions can be scored anew there only where `index` is that data set's.
* `split`, `Overall` and a column per category are those of the accuracy table.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from pixelreasoner import __version__
from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.files import write_text
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.trajectory import SCORE_METRIC, Trajectory

FILTER = "none"
"""What lmms-eval calls the filter of responses that changes nothing."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SOURCE = "pixelreasoner"


@dataclass(frozen=True)
class Row:
    """What an export needs of one trajectory: no pictures, no tokens."""

    task_id: str
    kind: str
    split: str
    question: str
    options: tuple[str, ...]
    target: str
    """The reference answers; one as it is, several as a JSON list, as they are in both formats."""
    response: str
    """The last message."""
    answer: str
    """What was taken from it; empty where there was none."""
    turns: tuple[Mapping[str, Any], ...]
    metrics: Mapping[str, float]


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file of trajectories that were scored, one at a time.

    Raises:
        RecordError: the file cannot be read, or holds a trajectory that was not scored.
    """
    for trajectory in read_trajectories(path):
        if SCORE_METRIC not in trajectory.metrics:
            raise RecordError(
                f"{path}: the trajectory of task {trajectory.task.id!r} has no score; "
                f"export the folder of an evaluation"
            )
        yield _row(trajectory)


def export_lmms_eval(rows: Sequence[Row], out: Path, *, task: str, model: str, when: datetime) -> list[Path]:
    """Write an evaluation in lmms-eval's format; the files that were written.

    Args:
        rows: of the evaluation, in order.
        out: where the model's folder goes.
        task: what the set of tasks is called there.
        model: what the model is called there.
        when: becomes part of the names.

    Raises:
        RecordError: the place cannot be written to.
    """
    folder = out / _file_name(model)
    stamp = when.strftime("%Y%m%d_%H%M%S")
    documents: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        documents[row.task_id].append(row)
    samples = [_sample(number, rollouts) for number, rollouts in enumerate(documents.values())]
    found: dict[str, Any] = {"alias": task}
    for name in sorted({name for row in rows for name in row.metrics}):
        values = [sample[name] for sample in samples if name in sample]
        found[f"{name},{FILTER}"] = fmean(values)
        found[f"{name}_stderr,{FILTER}"] = stdev(values) / len(values) ** 0.5 if len(values) > 1 else "N/A"
    hashes = "".join(f"sample_{n}{sample['doc_hash']}" for n, sample in enumerate(samples))
    results = {
        "results": {task: found},
        "group_subtasks": {task: []},
        "configs": {task: {"task": task, "output_type": "generate_until", "metadata": {"made_by": _maker()}}},
        "versions": {task: _maker()},
        "n-shot": {task: 0},
        "higher_is_better": {task: {SCORE_METRIC: True}},
        "n-samples": {task: {"original": len(samples), "effective": len(samples)}},
        "task_hashes": {task: _hash(hashes)},
        "model_source": SOURCE,
        "model_name": model,
        "model_name_sanitized": _file_name(model),
        "system_instruction": None,
        "system_instruction_sha": None,
        "fewshot_as_multiturn": None,
        "chat_template": None,
        "chat_template_sha": None,
    }
    lines = "".join(json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples)
    return _written(
        {
            folder / f"{stamp}_results.json": json.dumps(results, indent=2, ensure_ascii=False) + "\n",
            folder / f"{stamp}_samples_{_file_name(task)}.jsonl": lines,
        }
    )


def export_vlmevalkit(rows: Sequence[Row], out: Path, *, task: str, model: str, when: datetime) -> list[Path]:
    """Write an evaluation in VLMEvalKit's format; arguments as those of `export_lmms_eval`.

    Raises:
        RecordError: the place cannot be written to.
    """
    stem = f"{_file_name(model)}_{_file_name(task)}"
    letters = LETTERS[: max((len(row.options) for row in rows), default=0)]
    head = (
        "index",
        "question",
        *letters,
        "answer",
        "category",
        "split",
        "prediction",
        "hit",
        "extra_records",
    )
    table = [
        (
            index, row.question, *_padded(row.options, len(letters)), row.target, row.kind, row.split,
            row.response, f"{row.metrics[SCORE_METRIC]:g}", json.dumps(row.turns, ensure_ascii=False),
        )
        for index, row in zip(_indices(rows), rows, strict=True)
    ]  # fmt: skip
    kinds = sorted({row.kind for row in rows})
    by_split: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_split[row.split].append(row)
    accuracy = [
        (split, _mean(of_split), *(_mean(r for r in of_split if r.kind == kind) for kind in kinds))
        for split, of_split in sorted(by_split.items())
    ]
    return _written(
        {
            out / f"{stem}.tsv": _csv([head, *table], delimiter="\t"),
            out / f"{stem}_acc.csv": _csv([("split", "Overall", *kinds), *accuracy], delimiter=","),
        }
    )


EXPORTS: Mapping[str, Callable[..., list[Path]]] = {
    "lmms-eval": export_lmms_eval,
    "vlmevalkit": export_vlmevalkit,
}


def export(path: Path, out: Path, *, form: str, task: str, model: str) -> list[Path]:
    """Write the trajectories of a file in one of `EXPORTS`; the files that were written.

    The date in the names is that of the file, so that exporting twice gives the same.

    Raises:
        RecordError: the file cannot be read, holds nothing, or was not scored; or `out` cannot be written to.
    """
    rows = list(read_rows(path))
    if not rows:
        raise RecordError(f"{path} holds no trajectories to export")
    when = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return EXPORTS[form](rows, out, task=task, model=model, when=when)


def _row(trajectory: Trajectory) -> Row:
    task, turns = trajectory.task, trajectory.turns
    return Row(
        task_id=task.id,
        kind=task.kind,
        split=task.split or "none",
        question=task.question,
        options=task.options,
        target=task.answers[0] if len(task.answers) == 1 else json.dumps(task.answers, ensure_ascii=False),
        response=turns[-1].text if turns else "",
        answer=trajectory.answer or "",
        turns=tuple(
            {"text": turn.text, "observation": None if turn.observation is None else turn.observation.text}
            for turn in turns
        ),
        metrics=trajectory.metrics,
    )


def _sample(number: int, rollouts: Sequence[Row]) -> dict[str, Any]:
    """A line of lmms-eval's samples, of all rollouts of a task: its fields first, then the metrics."""
    row = rollouts[0]
    document = {"id": row.task_id, "question": row.question, "options": row.options, "answer": row.target}
    sample: dict[str, Any] = {
        "doc_id": number,
        "target": row.target,
        "resps": [[rollout.response for rollout in rollouts]],
        "filtered_resps": [rollout.answer for rollout in rollouts],
        "doc_hash": _hash(json.dumps(document, indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(row.question),
        "target_hash": _hash(row.target),
        "input": row.question,
    }
    names = {name: None for rollout in rollouts for name in rollout.metrics}
    return sample | {name: fmean(r.metrics[name] for r in rollouts if name in r.metrics) for name in names}


def _indices(rows: Iterable[Row]) -> Iterator[str]:
    """The task of each row; a further rollout of one has its number behind it: each index is there once."""
    seen: Counter[str] = Counter()
    for row in rows:
        seen[row.task_id] += 1
        yield row.task_id if seen[row.task_id] == 1 else f"{row.task_id}#{seen[row.task_id]}"


def _written(contents: Mapping[Path, str]) -> list[Path]:
    for path, content in contents.items():
        write_text(path, content)
    return list(contents)


def _csv(table: Iterable[Iterable[object]], delimiter: str) -> str:
    """As pandas reads it: everything quoted, as VLMEvalKit's own files are."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(table)
    return text.getvalue()


def _mean(rows: Iterable[Row]) -> str:
    """The mean score; empty, which pandas reads as NaN, of nothing."""
    scores = [row.metrics[SCORE_METRIC] for row in rows]
    return f"{fmean(scores):.10g}" if scores else ""


def _padded(options: Sequence[str], n: int) -> tuple[str, ...]:
    return (*options, *[""] * (n - len(options)))


def _file_name(name: str) -> str:
    """A name as part of a file name: lmms-eval puts __ for what may not stand there."""
    return re.sub(r"[^\w.-]+", "__", name).strip("_") or "model"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _maker() -> str:
    return f"{SOURCE} {__version__}"
