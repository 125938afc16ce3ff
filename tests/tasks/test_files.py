"""Task files: what a row may hold, what is said about a wrong one, and that nothing is lost on the way."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.records import write_tasks
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.rewards.choices import written_options
from pixelreasoner.tasks import media_fields
from pixelreasoner.tasks.files import open_task_file, write_task_file

Q = {"question": "Which letter?", "answers": "K"}


def only(path: Path, **arguments) -> Task:
    (task,) = open_task_file(path, **arguments).take(0, 9)
    return task


# --------------------------------------------------------------------------------------- what a row holds


def test_a_row_with_everything(jsonl: Callable[..., Path], pictures: list[Picture]):
    path = jsonl({
        "id": 7, "question": "Of what?", "answers": ["cotton"], "kind": "attribute", "images": ["0.png"],
        "cue": {"box": [1, 0, 3, 2]}, "needs_operation": True, "options": ["rubber", "cotton"],
        "scorer": "exact", "subject": "the glove", "claim": "The glove is of cotton.", "split": "train",
    })  # fmt: skip
    assert only(path) == Task(
        id="7", question="Of what?\nA. rubber\nB. cotton", media=(pictures[0],), answers=("B",),
        kind="attribute", cue=Cue(Box(1, 0, 3, 2)), needs_operation=True, split="train", subject="the glove",
        scorer="exact", claim="The glove is of cotton.", options=("rubber", "cotton"),
    )  # fmt: skip


def test_the_least_a_row_holds(jsonl: Callable[..., Path]):
    task = only(jsonl("", {"question": "Why?", "answers": None, "kind": None, "_note": "ours"}))
    assert task == Task("tasks-2", "Why?", (), ())


def test_an_answer_may_be_a_number(jsonl: Callable[..., Path]):
    assert only(jsonl({"question": "How many?", "answers": [3, "three"]})).answers == ("3", "three")


def test_options_are_not_written_twice_and_choose_the_scorer(jsonl: Callable[..., Path]):
    question = "Of what?\n" + written_options(("rubber", "cotton"))
    task = only(jsonl({"question": question, "answers": "(a)", "options": ["rubber", "cotton"]}))
    assert (task.question, task.answers, task.scorer) == (question, ("A",), "choice")


@pytest.mark.parametrize("form", ["relative", "absolute", "uri", "base64", "object", "struct"])
def test_every_form_of_an_image(
    form: str, jsonl: Callable[..., Path], pictures: list[Picture], tmp_path: Path
):
    text = base64.b64encode((tmp_path / "0.png").read_bytes()).decode()
    forms = {
        "relative": "0.png",
        "absolute": str(tmp_path / "0.png"),
        "uri": f"data:image/png;base64,{text}",
        "base64": text,
        "object": {"base64": text},
        "struct": {"bytes": None, "path": "0.png"},
    }
    assert only(jsonl({**Q, "images": forms[form]})).media == (pictures[0],)


@pytest.mark.parametrize("form", ["folder", "list", "timed", "media"])
def test_every_form_of_a_video(
    form: str, jsonl: Callable[..., Path], pictures: list[Picture], tmp_path: Path
):
    frames = [f"{i}.png" for i in range(4)]
    forms = {
        "folder": {"video": "."},
        "list": {"video": frames},
        "timed": {"video": {"frames": frames, "times_s": [0, 1, 2, 3]}},
        "media": {"media": [{"video": {"frames": frames}}]},
    }
    assert only(jsonl({**Q, **forms[form]})).media == (Video(tuple(pictures), (0.0, 1.0, 2.0, 3.0)),)


def test_of_a_video_file_as_many_frames_as_asked_for_and_of_a_list_all(jsonl, pictures):
    path = jsonl({**Q, "video": "."}, {**Q, "video": ["0.png", "1.png", "2.png"]})
    folder, listed = open_task_file(path, n_frames=2).take(0, 2)
    assert len(folder.media[0].frames) == 2
    assert len(listed.media[0].frames) == 3


def test_images_come_before_the_video_and_media_in_their_own_order(jsonl, pictures):
    path = jsonl(
        {**Q, "video": ["0.png"], "images": ["1.png", "2.png"]},
        {**Q, "media": [{"video": ["0.png"]}, {"image": "1.png"}]},
    )
    first, second = open_task_file(path).take(0, 2)
    assert first.media == (pictures[1], pictures[2], Video((pictures[0],)))
    assert second.media == (Video((pictures[0],)), pictures[1])


@pytest.mark.parametrize(
    ("unit", "box"),
    [("pixel", [1, 1, 3, 2]), ("fraction", [0.2, 0.25, 0.6, 0.5]), ("relative", [200, 250, 600, 500])],
)
def test_a_cue_is_given_in_any_unit_and_kept_in_pixels(unit, box, jsonl, pictures):
    cue = only(jsonl({**Q, "images": "0.png", "cue": {"box": box, "unit": unit}})).cue  # 5 x 4 pixels
    assert (cue.box.x1, cue.box.y1, cue.box.x2, cue.box.y2) == pytest.approx((1, 1, 3, 2))
    assert cue.box.unit == "pixel"


# -------------------------------------------------------------------------------------------- the index


def test_the_index_reads_no_media_and_tasks_keep_none(jsonl, pictures, monkeypatch: pytest.MonkeyPatch):
    read = []
    real = media_fields.read_image
    monkeypatch.setattr("pixelreasoner.tasks.rows.read_image", lambda *a: read.append(a[0]) or real(*a))
    source = open_task_file(jsonl({**Q, "images": "0.png"}, {**Q, "images": "1.png", "kind": "page"}))
    assert (source.size, source.kinds, read) == (2, ("open", "page"), [])
    list(source.select(kind="page").take(0, 1))
    assert read == ["1.png"]
    list(source.take(1, 1))
    assert read == ["1.png", "1.png"]


def test_rows_of_another_split_are_left_out(jsonl: Callable[..., Path]):
    path = jsonl({**Q, "id": "a", "split": "train"}, {**Q, "id": "b"}, {**Q, "id": "c", "split": "dev"})
    assert [t.id for t in open_task_file(path).take(0, 9)] == ["a", "b", "c"]
    assert [(t.id, t.split) for t in open_task_file(path, split="dev").take(0, 9)] == [
        ("b", "dev"),
        ("c", "dev"),
    ]
    with pytest.raises(RecordError, match="no task of the split 'dev'; its splits are train"):
        open_task_file(jsonl({**Q, "split": "train"}), split="dev")


def test_columns_of_somebody_elses_file_are_renamed(jsonl, pictures):
    path = jsonl({"qid": "x", "prompt": "Which?", "gold": "K", "img": "0.png", "level": 3})
    columns = {"id": "qid", "question": "prompt", "answers": "gold", "images": "img"}
    assert only(path, columns=columns) == Task("x", "Which?", (pictures[0],), ("K",))


def test_tasks_of_our_own_records_are_read(tmp_path: Path, pictures):
    tasks = [
        Task("a", "Q?", (pictures[0],), ("K",), kind="page", needs_operation=True, split="rl"),
        Task("b", "Q?", (), ()),
    ]
    write_tasks(tmp_path / "records.jsonl", tasks)
    source = open_task_file(tmp_path / "records.jsonl")
    assert list(source.take(0, 9)) == tasks
    assert list(source.select(kind="page", needs_operation=True).take(0, 9)) == tasks[:1]


def test_a_record_of_something_else_is_refused(jsonl: Callable[..., Path]):
    with pytest.raises(RecordError, match="line 1: kind is a text"):
        open_task_file(jsonl({"schema": "pixelreasoner.task/2", "kind": 3}))
    with pytest.raises(RecordError, match=r"line 1: this is 'pixelreasoner.trajectory/2', and no task"):
        open_task_file(jsonl({"schema": "pixelreasoner.trajectory/2", "turns": []}))
    source = open_task_file(jsonl({"schema": "pixelreasoner.task/2"}))
    with pytest.raises(RecordError, match=r"line 1: task: no answers, id, media, question"):
        list(source.take(0, 1))


def test_a_file_with_a_byte_order_mark_and_blank_lines(tmp_path: Path):
    path = tmp_path / "bom.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"question": "1?"}\r\n\n{"question": "2?"}')
    assert [(t.id, t.question) for t in open_task_file(path).take(0, 9)] == [("bom-1", "1?"), ("bom-3", "2?")]


def test_a_file_can_be_sent_to_another_process(jsonl, pictures):
    source = open_task_file(jsonl({**Q, "images": "0.png"}))
    assert list(pickle.loads(pickle.dumps(source)).take(0, 1)) == list(source.take(0, 1))


# ------------------------------------------------------------------------------------------ what is wrong


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{half", r"not JSON \(.* at character 2\)$"),
        ("[1]", "an object with named fields"),
        ({"answers": "K"}, "question: missing"),
        ({**Q, "question": " "}, "question: "),
        ({**Q, "answers": ["K", ""]}, r"answers\.1: "),
        ({**Q, "answers": True}, r"answers\.0: "),
        ({**Q, "answer": "K"}, "answer: unknown field; did you mean 'answers'"),
        ({**Q, "colour": "red"}, "colour: unknown field; the fields are id, question"),
        ({**Q, "options": ["one"]}, "'options' holds 1 texts"),
        ({**Q, "options": ["rubber", "cotton"]}, "'answers': 'K' is none of the options"),
        ({**Q, "cue": {"box": [1, 2, 3]}}, r"cue\.box"),
        ({**Q, "cue": {"box": [1, 2, 3, 4], "unit": "inch"}}, r"cue\.unit: .*'pixel'"),
        ({**Q, "cue": {"where": 1}}, r"cue\.where: unknown field"),
        ({**Q, "images": "0.png", "media": [{"image": "0.png"}]}, "leave out 'images' and 'video'"),
        ({**Q, "media": [{}]}, r"media\.0: give either an image or a video"),
        ({**Q, "scorer": "vibes"}, "scorer: there is no scorer 'vibes'; the registered ones are .*exact"),
        ({**Q, "scorer": "no_such_module:f"}, "scorer: .*no module no_such_module"),
        ({"schema": "pixelreasoner.task/2", "scorer": "vibes"}, "scorer: there is no scorer 'vibes'"),
    ],
)
def test_a_wrong_row_is_refused_when_the_file_is_opened(row, message, jsonl: Callable[..., Path]):
    with pytest.raises(RecordError, match=rf"tasks\.jsonl, line 2: .*{message}"):
        open_task_file(jsonl(Q, row))
    # Where rows are looked at one by one, the others remain.
    source = open_task_file(jsonl(Q, row), tolerant=True)
    assert source.size == 2
    with pytest.raises(RecordError, match=rf"line 2: .*{message}"):
        list(source.take(1, 1))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"images": ["0.png", "gone.png"]}, r"images\[1\]: .*gone.png does not exist"),
        ({"images": "tasks.jsonl"}, r"images\[0\]: .*not an image"),
        ({"images": 3}, r"images\[0\]: int where a path"),
        ({"images": "https://example.com/a.png"}, "addresses are not fetched"),
        ({"images": "data:image/png;base64,AAAA"}, r"images\[0\]: the image \(3 bytes\) is no image"),
        ({"images": {"base64": "%%"}}, "cannot be decoded"),
        ({"images": "x" * 9000}, "neither a path nor an image"),
        ({"video": 3}, "video: give a path, a list of frames"),
        ({"video": ["0.png", "gone.png"]}, r"video: .*|video\.frames\[1\]: "),
        ({"video": {"frames": ["0.png"], "fps": 3}}, "unknown field 'fps'"),
        ({"video": {"frames": ["0.png"], "times_s": [0, 1]}}, "1 frames but 2 times"),
        ({"video": []}, "at least one frame"),
        ({"images": "0.png", "cue": {"target": 2}}, r"cue\.target: 2, and the row has 1 media"),
        ({"images": "0.png", "cue": {"frames": [1]}}, r"cue\.frames: \[1\], and the item is an image"),
        ({"video": ["0.png"], "cue": {"frames": [2]}}, "a video of 1 frames"),
        ({"images": "0.png", "cue": {"box": [9, 9, 12, 12]}}, "shows nothing of the 5x4 image"),
        ({"images": "0.png", "cue": {"box": [3, 3, 1, 1]}}, "shows nothing of the 5x4 image"),
    ],
)
def test_wrong_media_are_named_when_the_task_is_taken(row, message, jsonl, pictures):
    source = open_task_file(jsonl({**Q, **row}))
    with pytest.raises(RecordError, match=rf"tasks\.jsonl, line 1: .*{message}"):
        list(source.take(0, 1))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.jsonl", None, "does not exist"),
        ("empty.jsonl", "\n", "holds no tasks"),
        ("tasks.csv", "a,b", "ends in .jsonl or .parquet"),
        ("bad.parquet", "no parquet", "no readable Parquet file"),
    ],
)
def test_a_file_that_is_no_task_file(name, content, message, tmp_path: Path):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(RecordError, match=message):
        open_task_file(tmp_path / name)


# --------------------------------------------------------------------------------------------- round trip


def small(seed: int) -> Picture:
    return Picture(np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8))


TEXT = st.text(min_size=1, max_size=12).filter(str.strip)
PICTURES = st.integers(0, 5).map(small)
VIDEOS = st.lists(st.tuples(PICTURES, st.floats(0, 9)), min_size=1, max_size=3).map(
    lambda rows: Video(tuple(p for p, _ in rows), tuple(t for _, t in rows))
)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    media = tuple(draw(st.lists(st.one_of(PICTURES, VIDEOS), max_size=3)))
    cue = None
    if media and draw(st.booleans()):
        target = draw(st.integers(1, len(media)))
        item = media[target - 1]
        frames = (1,) if isinstance(item, Video) and draw(st.booleans()) else ()
        x, y = draw(st.floats(0, 3, exclude_max=True)), draw(st.floats(0, 2, exclude_max=True))
        cue = Cue(draw(st.sampled_from([None, Box(x, y, x + 0.5, y + 0.75)])), frames, target)
    options = tuple(draw(st.one_of(st.just([]), st.lists(TEXT, min_size=2, max_size=4))))
    question = draw(TEXT) + ("\n" + written_options(options) if options else "")
    return Task(
        id=draw(TEXT), question=question, media=media,
        answers=("B",) if options else tuple(draw(st.lists(TEXT, max_size=3))),
        kind=draw(TEXT), cue=cue, needs_operation=draw(st.sampled_from([None, True, False])),
        split=draw(st.sampled_from(["test", "train"])), subject=draw(st.text(max_size=5)),
        scorer="choice" if options else draw(st.sampled_from(["", "anls", "numeric"])),
        claim=draw(st.text(max_size=5)), options=options,
    )  # fmt: skip


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=st.lists(tasks(), min_size=1, max_size=5), start=st.integers(0, 4))
def test_what_is_written_is_read_back_equal(suffix: str, written: list[Task], start: int, tmp_path: Path):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"t.{suffix}"
    assert write_task_file(path, iter(written)) == len(written)
    source = open_task_file(path)
    assert list(source.take(start, 9)) == written[start:]
    assert [(source.needs(t.kind) >= {t.needs_operation}) for t in written] == [True] * len(written)


def test_a_task_that_could_not_be_read_back_is_not_written(tmp_path: Path):
    with pytest.raises(RecordError, match=r"task t cannot be written: answers\.0"):
        write_task_file(tmp_path / "t.jsonl", [Task("t", "Q?", (), ("",))])
    assert not list(tmp_path.glob("*.jsonl*"))


def test_rows_of_a_parquet_file_are_read_in_any_order(tmp_path: Path):
    pytest.importorskip("pyarrow")
    written = [Task(f"t{i}", "Q?", (small(i % 3),), ("K",)) for i in range(50)]  # four groups
    write_task_file(tmp_path / "t.parquet", written)
    source = open_task_file(tmp_path / "t.parquet")
    order = [49, 0, 17, 16, 16, 31, 32, 48, 1]
    assert list(source.reordered(order).take(0, 9)) == [written[i] for i in order]
    assert list(source.take(14, 5)) == written[14:19]


def test_a_place_that_cannot_be_written_to(tmp_path: Path):
    (tmp_path / "plain").write_text("")
    with pytest.raises(RecordError, match="cannot be written"):
        write_task_file(tmp_path / "plain" / "t.jsonl", [])


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_boxes_of_several_things_come_back(pictures, jsonl, tmp_path: Path, name: str):
    """They are within the box around all of them, which is the cue's."""
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = jsonl({"question": "Q?", "images": "0.png", "cue": {"boxes": [[0, 1, 2, 3], [3, 0, 5, 2]]}})
    (task,) = open_task_file(path).take(0, 1)
    assert task.cue == Cue(Box(0, 0, 5, 3), boxes=(Box(0, 1, 2, 3), Box(3, 0, 5, 2)))
    write_task_file(tmp_path / name, [task])
    (back,) = open_task_file(tmp_path / name).take(0, 1)
    assert back.cue == task.cue
    outside = jsonl({"question": "Q?", "images": "0.png", "cue": {"boxes": [[0, 1, 2, 3], [9, 9, 12, 12]]}})
    with pytest.raises(RecordError, match=r"cue\.boxes\[1\]: \[9\.0, 9\.0, 12\.0, 12\.0\]"):
        list(open_task_file(outside).take(0, 1))


def test_a_part_of_a_video(pictures, jsonl, tmp_path: Path):
    (tmp_path / "clip").mkdir()
    for i in range(4):
        (tmp_path / "clip" / f"{i}.png").write_bytes((tmp_path / f"{i}.png").read_bytes())
    part = {"path": "clip", "start_s": 2, "end_s": 4, "fps": 1}
    (task,) = open_task_file(jsonl({"question": "Q?", "video": part}), n_frames=2).take(0, 1)
    (video,) = task.media
    # Numbers 2 to 4 from 1: int(2 + 0.5 + round(0)), int(2 + 0.5 + round(1)).
    assert video.times_s == (1.0, 2.0)
    for wrong, message in (({"end_s": "4"}, "is no number"), ({"frm": 1}, "unknown field 'frm'")):
        with pytest.raises(RecordError, match=message):
            list(open_task_file(jsonl({"question": "Q?", "video": {**part, **wrong}})).take(0, 1))


# ----------------------------------------------------------------------------------------------- seeds


def test_a_row_without_a_question_is_a_seed_with_its_candidates(jsonl, pictures):
    boxes = [[0, 1, 2, 3], [3, 0, 5, 2]]
    path = jsonl(
        {"images": "0.png", "kind": "photo", "cue": {"boxes": boxes}}, {"question": " ", "images": "1.png"}
    )
    first, second = open_task_file(path, seeds=True).take(0, 9)
    assert (first.is_seed, first.question, first.answers, first.kind) == (True, "", (), "photo")
    assert first.cue == Cue(boxes=(Box(0, 1, 2, 3), Box(3, 0, 5, 2)))
    assert second == Task("tasks-2", "", (pictures[1],), (), split="test")


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("n_boxes", [0, 1, 3])
def test_seeds_are_written_and_read_back(n_boxes: int, suffix: str, tmp_path: Path, pictures):
    cue = Cue(boxes=tuple(Box(i, 0, i + 2, 2) for i in range(n_boxes))) if n_boxes else None
    seed = Task("a", "", (pictures[0],), (), cue=cue, split="train")
    assert write_task_file(tmp_path / f"seeds{suffix}", [seed]) == 1
    assert only(tmp_path / f"seeds{suffix}", seeds=True) == seed


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"images": "0.png", "answers": "K"}, "question: missing; answers and options need one"),
        (
            {"images": "0.png", "question": "", "options": ["a", "b"]},
            "question: is empty; answers and options",
        ),
    ],
)
def test_what_can_be_no_seed(row, message, jsonl, pictures):
    with pytest.raises(RecordError, match=rf"line 1: {message}"):
        open_task_file(jsonl(row), seeds=True)


def test_a_row_of_nothing_is_no_seed(jsonl):
    with pytest.raises(RecordError, match="line 1: question: missing, and so are images and videos"):
        only(jsonl({"id": "x"}), seeds=True)
