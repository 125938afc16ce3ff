"""Records on disk: what was written comes back equal, and damage is told by file and line."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixelreasoner.core.errors import ErrorClass, MediaError, RecordError
from pixelreasoner.core.geometry import Box, Unit
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.records import (
    MediaFolder,
    read_tasks,
    read_trajectories,
    task_from_json,
    task_to_json,
    trajectory_from_json,
    trajectory_to_json,
    write_tasks,
    write_trajectories,
)
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import Observation, Segment, StopReason, Trajectory, Turn

# A few pictures, so that records share them as they do in life.
PICTURES = tuple(
    Picture(np.random.default_rng(i).integers(0, 256, (2 + i, 3, 3), dtype=np.uint8)) for i in range(4)
)
VIDEO = Video((PICTURES[0],) * 3, times_s=(0.0, 1 / 3, 0.1 + 0.2))
BY_DIGEST = {p.digest: p for p in PICTURES}


def a_trajectory(identity: str = "t1") -> Trajectory:
    """A trajectory in which every field of every record is set to something unusual."""
    task = Task(
        id=identity,
        question='Which "letter"?\nÜber 猫 \u2028 \ud800',
        media=(PICTURES[0], VIDEO),
        answers=("K", "k"),
        kind="attribute",
        cue=Cue(box=Box(1, 2.5, 3, 4, Unit.RELATIVE), frames=(1, 16), target=2),
        needs_operation=False,
        split="train",
        subject="the red card",
    )
    call = ToolCall("crop_image", {"bbox_2d": [1, 2.5, None, "x"], "target_image": {"deep": [True, 10**400]}})
    sampled = Segment((1, 2, 3), logprobs=(-0.1, -1e-300, -math.pi))
    crop = Observation("Image 2:", (PICTURES[1],), box=Box(0, 0, 1, 1), frames=(3, 1), source=2)
    failed = Observation("no such image", valid=False, error_class=ErrorClass.TARGET)
    return Trajectory(
        task=task,
        turns=(
            Turn(
                "Look.",
                call,
                crop,
                sampled,
                Segment((9, 8), media=(PICTURES[1],)),
                masked=(2, 5),
            ),
            Turn("Again.", ToolCall("crop_image"), failed),
            Turn("It is K.", sampled=Segment((4,), logprobs=(0.0,))),
        ),
        stop=StopReason.TURN_LIMIT,
        answer="K",
        prompt=Segment((5, 6, 7), media=(PICTURES[0], VIDEO)),
        source="recrop_once",
        fingerprint="00ff",
        coordinates="relative",
        metrics={"reward": 1.0875, "correct": 1.0},
    )


# ------------------------------------------------------------------------------------------ round trip

floats = st.floats(allow_nan=False)
texts = st.text(st.characters(), max_size=20)
names = st.text(max_size=8)
pictures = st.sampled_from(PICTURES)
videos = st.lists(floats, min_size=1, max_size=3).map(lambda t: Video((PICTURES[2],) * len(t), tuple(t)))
media = st.one_of(pictures, videos)
indices = st.lists(st.integers(1, 16), max_size=4).map(tuple)
boxes = st.builds(Box, floats, floats, floats, floats, st.sampled_from(Unit))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


def tuples(of: st.SearchStrategy, max_size: int = 3) -> st.SearchStrategy[tuple]:
    return st.lists(of, max_size=max_size).map(tuple)


spans = st.none() | st.tuples(st.integers(0, 9), st.integers(0, 9))
segments = st.builds(Segment, tuples(st.integers(0, 200_000)), tuples(media), tuples(floats), masked=spans)
observations = st.builds(
    Observation, texts, tuples(pictures), st.booleans(), st.none() | boxes, indices, st.integers(1, 9)
)
calls = st.builds(ToolCall, texts, st.dictionaries(names, json_values, max_size=3))
turns = st.builds(
    Turn,
    texts,
    st.none() | calls,
    st.none() | observations,
    st.none() | segments,
    st.none() | segments,
    spans,
)
cues = st.builds(Cue, st.none() | boxes, indices, st.integers(1, 3))
tasks = st.builds(
    Task,
    id=texts,
    question=texts,
    media=tuples(media),
    answers=tuples(texts),
    kind=texts,
    cue=st.none() | cues,
    needs_operation=st.none() | st.booleans(),
    split=texts,
    subject=texts,
    claim=texts,
)
trajectories = st.builds(
    Trajectory,
    task=tasks,
    turns=tuples(turns),
    stop=st.sampled_from(StopReason),
    answer=st.none() | texts,
    prompt=st.none() | segments,
    source=texts,
    fingerprint=texts,
    coordinates=texts,
    metrics=st.dictionaries(names, floats, max_size=3),
)


@given(trajectories)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_trajectory_survives_json(trajectory: Trajectory):
    data = json.loads(json.dumps(trajectory_to_json(trajectory)))
    back = trajectory_from_json(data, BY_DIGEST.__getitem__)
    assert back == trajectory
    # Equality does not tell 1 from 1.0 or True, nor a string from an enum; the text does.
    assert repr(back) == repr(trajectory)


@given(tasks)
def test_every_task_survives_json(task: Task):
    back = task_from_json(json.loads(json.dumps(task_to_json(task))), BY_DIGEST.__getitem__)
    assert repr(back) == repr(task)
    assert back == task


def test_a_full_trajectory_survives_the_disk(tmp_path: Path):
    written = [a_trajectory("a"), a_trajectory("b")]
    write_trajectories(tmp_path / "x" / "rollouts.jsonl", written)
    back = list(read_trajectories(tmp_path / "x" / "rollouts.jsonl"))
    assert back == written
    assert repr(back) == repr(written)
    assert isinstance(back[0].task.media[1], Video)
    assert back[0].turns[0].sampled is not None
    assert isinstance(back[0].turns[0].sampled.ids, tuple)


def test_infinite_and_undefined_scores_survive():
    trajectory = Trajectory(
        a_trajectory().task, (), StopReason.ANSWER, metrics={"a": math.inf, "b": -math.inf, "c": math.nan}
    )
    back = trajectory_from_json(json.loads(json.dumps(trajectory_to_json(trajectory))), BY_DIGEST.__getitem__)
    assert repr(back.metrics) == repr(trajectory.metrics)


def test_a_line_holds_only_what_is_not_the_default():
    task = Task(id="t", question="?", media=(PICTURES[0],), answers=())
    assert task_to_json(task) == {
        "schema": "pixelreasoner.task/3",
        "id": "t",
        "question": "?",
        "media": [PICTURES[0].digest],
        "answers": [],
    }


# ---------------------------------------------------------------------------------------------- files


def test_pictures_are_stored_once_and_read_as_one_object(tmp_path: Path):
    path = tmp_path / "rollouts.jsonl"
    write_trajectories(path, [a_trajectory("a"), a_trajectory("b")])
    stored = sorted(p.name for p in (tmp_path / "media").iterdir())
    assert stored == sorted(f"{PICTURES[i].digest}.png" for i in (0, 1))
    first, second = read_trajectories(path)
    assert first.task.media[0] is second.task.media[0]
    assert first.prompt is not None
    assert first.prompt.media[0] is first.task.media[0]


def test_append_adds_and_writing_anew_replaces(tmp_path: Path):
    path = tmp_path / "tasks.jsonl"
    one, two = a_trajectory("one").task, a_trajectory("two").task
    write_tasks(path, [one], append=True)
    write_tasks(path, [two], append=True)
    assert list(read_tasks(path)) == [one, two]
    write_tasks(path, [two])
    assert list(read_tasks(path)) == [two]
    write_tasks(path, [])
    assert list(read_tasks(path)) == []


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "tasks.jsonl"
    write_tasks(path, [a_trajectory().task])

    def broken():
        yield a_trajectory("new").task
        raise RuntimeError("out of tasks")

    with pytest.raises(RuntimeError, match="out of tasks"):
        write_tasks(path, broken())
    assert list(read_tasks(path)) == [a_trajectory().task]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["media", "tasks.jsonl"]


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """A file of two records, the second of which its writer was killed in."""
    path = tmp_path / "cut.jsonl"
    write_trajectories(path, [a_trajectory("a"), a_trajectory("b")])
    path.write_bytes(path.read_bytes()[:-40])
    return path


def test_a_line_cut_short_is_told_by_file_and_line(cut: Path):
    reader = read_trajectories(cut)
    assert next(reader).task.id == "a"
    with pytest.raises(RecordError, match=r"cut\.jsonl, line 2: the line is cut short.*tolerate_truncation"):
        next(reader)


def test_a_line_cut_short_can_be_passed_over(cut: Path):
    assert [t.task.id for t in read_trajectories(cut, tolerate_truncation=True)] == ["a"]


def test_only_the_last_line_may_be_cut_short(cut: Path):
    cut.write_bytes(cut.read_bytes() + b"\n")
    with pytest.raises(RecordError, match=r"line 2: not JSON \([A-Za-z ']+ at character \d+\)$"):
        list(read_trajectories(cut, tolerate_truncation=True))


@pytest.mark.parametrize("left", [1, 12, 30, 500])
def test_appending_after_a_killed_writer_drops_its_last_line(cut: Path, left: int):
    first, second = cut.read_bytes().split(b"\n")
    cut.write_bytes(first + b"\n" + second[:left])
    write_trajectories(cut, [a_trajectory("c")], append=True)
    assert [t.task.id for t in read_trajectories(cut)] == ["a", "c"]
    cut.write_bytes(second[:left])
    write_trajectories(cut, [a_trajectory("c")], append=True)
    assert [t.task.id for t in read_trajectories(cut)] == ["c"]


def test_appending_keeps_a_whole_line_that_lacks_only_its_end(cut: Path):
    cut.write_bytes(cut.read_bytes().split(b"\n")[0])
    write_trajectories(cut, [a_trajectory("c")], append=True)
    assert [t.task.id for t in read_trajectories(cut)] == ["a", "c"]


def test_appending_to_something_else_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("Buy milk")
    with pytest.raises(RecordError, match=r"notes\.txt"):
        write_trajectories(tmp_path / "notes.txt", [a_trajectory()], append=True)
    assert (tmp_path / "notes.txt").read_text() == "Buy milk"


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(RecordError, match=r"none\.jsonl does not exist"):
        next(read_tasks(tmp_path / "none.jsonl"))


def edited(path: Path, **changes: object) -> Path:
    data = json.loads(path.read_bytes().split(b"\n")[0]) | changes
    path.write_text(json.dumps({k: v for k, v in data.items() if v != "gone"}) + "\n")
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": "pixelreasoner.trajectory/99"}, "trajectory/99"),
        ({"schema": "gone"}, "None"),
        ({"turns": "gone"}, "trajectory: no turns"),
        ({"colour": 1}, "unknown colour"),
        ({"turns": [{"text": "a", "weight_version": 1.5}]}, r"turns\[0\].weight_version: float where int"),
        ({"turns": [{"text": "a", "weight_version": True}]}, r"turns\[0\].weight_version: bool where int"),
        ({"stop": "tired"}, "trajectory.stop: 'tired' is none of answer"),
        ({"turns": {}}, "trajectory.turns: dict where list"),
        ({"turns": [{"text": "a"}, {"text": None}]}, r"trajectory.turns\[1\].text: NoneType where str"),
        ({"prompt": {"ids": [1, "2"]}}, r"trajectory.prompt.ids\[1\]: str where int"),
        ({"prompt": {"ids": [], "media": [3]}}, r"trajectory.prompt.media\[0\]: int"),
        ({"prompt": {"ids": [], "media": ["../../etc/passwd"]}}, "not the digest"),
        ({"prompt": {"ids": [], "media": ["0" * 32]}}, r"0\.png does not exist"),
        ({"task": []}, "trajectory.task: list where dict"),
        ({"prompt": {"ids": [], "masked": [1]}}, "masked: 1 values where 2 are needed"),
    ],
)
def test_what_is_wrong_in_a_line_is_said(tmp_path: Path, changes: dict, message: str):
    path = tmp_path / "a.jsonl"
    write_trajectories(path, [a_trajectory()])
    with pytest.raises(RecordError, match=message) as e:
        list(read_trajectories(edited(path, **changes)))
    assert str(e.value).startswith(f"{path}, line 1: ")


@pytest.mark.parametrize(("version", "learned"), [(1, "learn"), (2, "trainable")])
def test_records_of_earlier_schemas_are_read(version: int, learned: str):
    """They masked whole messages; the first kept one weight version for all turns."""
    old = {
        "schema": f"pixelreasoner.trajectory/{version}",
        "task": {"id": "t", "question": "?", "media": [], "answers": []},
        "turns": [{"text": "ab", "sampled": {"ids": [1]}, learned: False}, {"text": "b"}],
        "stop": "answer",
        "weight_version": 3,
    }
    first, second = trajectory_from_json(old, BY_DIGEST.__getitem__).turns
    assert (first.masked, first.sampled.masked, first.weight_version) == ((0, 2), (0, 1), 3)
    assert (second.masked, second.weight_version) == (None, 0)


@pytest.mark.parametrize("line", [b"{\n", b"\xff\xfe\n", b"[1]\n", b"7\n", b"null\n"])
def test_lines_that_are_no_records_are_told(tmp_path: Path, line: bytes):
    (tmp_path / "a.jsonl").write_bytes(b"\n" + line)
    with pytest.raises(RecordError, match="line 2"):
        list(read_tasks(tmp_path / "a.jsonl"))


def test_tasks_are_not_trajectories(tmp_path: Path):
    write_tasks(tmp_path / "a.jsonl", [a_trajectory().task])
    with pytest.raises(RecordError, match=r"pixelreasoner\.task/3.*pixelreasoner\.trajectory/3"):
        list(read_trajectories(tmp_path / "a.jsonl"))


def test_a_picture_that_was_changed_is_refused(tmp_path: Path):
    folder = MediaFolder(tmp_path)
    folder.put(PICTURES[0])
    folder.put(PICTURES[1])
    (tmp_path / f"{PICTURES[0].digest}.png").write_bytes(
        (tmp_path / f"{PICTURES[1].digest}.png").read_bytes()
    )
    changed = folder.get(PICTURES[0].digest)
    with pytest.raises(MediaError, match="changed"):
        _ = changed.pixels
    assert folder.get(PICTURES[1].digest) == PICTURES[1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_c5_a_device_without_room_is_a_record_error():
    task = Task("t", "q", (), ())
    with pytest.raises(RecordError, match="/dev/full cannot be written: the disk is full"):
        write_trajectories("/dev/full", [Trajectory(task, (), StopReason.ANSWER)], append=True)


def test_c4_a_place_below_a_file_is_a_record_error(tmp_path: Path):
    (tmp_path / "plain").touch()
    for append in (False, True):
        with pytest.raises(RecordError, match=r"trace\.jsonl cannot be written"):
            write_trajectories(tmp_path / "plain" / "trace.jsonl", [], append=append)


def test_an_error_of_the_source_of_records_is_not_taken_for_one_of_writing(tmp_path: Path):
    def source():
        raise FileNotFoundError("a bug of the source")
        yield

    for append in (False, True):
        with pytest.raises(FileNotFoundError, match="a bug of the source"):
            write_trajectories(tmp_path / "a.jsonl", source(), append=append)


def test_a_long_last_line_is_cut_where_it_begins(tmp_path: Path):
    """Longer than a block that is read from the end."""
    path = tmp_path / "a.jsonl"
    write_trajectories(path, [Trajectory(Task("t", "q" * 200_000, (), ()), (), StopReason.ANSWER)])
    line = path.read_bytes()
    path.write_bytes(line + line[:-10])
    write_trajectories(path, [], append=True)
    assert path.read_bytes() == line
