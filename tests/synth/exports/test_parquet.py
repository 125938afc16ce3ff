"""Parquet shards: what `datasets` decodes, what reads back, how large they get."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.synth.exports.export import export
from pixelreasoner.synth.exports.parquet import GROUP_ROWS, read_parquet, write_parquet
from pixelreasoner.synth.exports.prompts import Prompts, run_prompts

pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def prompts(synth_run: Path) -> Prompts:
    return run_prompts(str(next(synth_run.parent.glob("checkpoint-*"))), Interaction())


def rows_of(folder: Path) -> list[dict]:
    return [row for path in sorted(folder.glob("data/*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_records_read_back_unchanged(synth_run: Path, made: list[Trajectory], tmp_path: Path):
    assert export(synth_run, tmp_path / "out", form="parquet") == len(made)
    back = list(read_parquet(tmp_path / "out"))
    assert back == made
    assert [t.masked for y in back for t in y.turns] == [t.masked for y in made for t in y.turns]
    assert any(t.masked for y in back for t in y.turns)


def test_rows_say_what_was_done(synth_run: Path, made: list[Trajectory], tmp_path: Path):
    export(synth_run, tmp_path / "out", form="parquet")
    assert [path.name for path in (tmp_path / "out" / "data").iterdir()] == ["train-00000-of-00001.parquet"]
    for row, y in zip(rows_of(tmp_path / "out"), made, strict=True):
        assert (row["id"], row["template"], row["answer"]) == (y.task.id, y.source, y.answer)
        roles = Counter(m["role"] for m in row["messages"])
        assert (roles["system"], roles["user"]) == (1, 1)
        assert (roles["assistant"], roles["tool"]) == (len(y.turns), y.n_operations)
        kinds = Counter(part["type"] for m in row["messages"] for part in m["content"])
        assert kinds["image"] == len(row["images"])
        assert kinds["video"] == bool(row["frames"])
        assert len(row["frames"]) == len(row["times_s"])
        # What is masked is the call of the message, or nothing.
        said = [m["content"][0]["text"] for m in row["messages"] if m["role"] == "assistant"]
        cut = [text[slice(*span)] for text, span in zip(said, row["masked"], strict=True) if span]
        assert len(cut) == sum(turn.masked is not None for turn in y.turns)
        assert all(text.startswith("<tool_call>") and text.endswith("</tool_call>") for text in cut)
        for box, turn in zip(row["boxes"], y.turns, strict=False):
            seen = turn.observation
            assert seen is not None
            assert box["frames"] == list(seen.frames)
            assert box["box"] == (
                [] if seen.box is None else [seen.box.x1, seen.box.y1, seen.box.x2, seen.box.y2]
            )
        assert y.task.cue is not None
        assert row["cue"]["frames"] == list(y.task.cue.frames)


def test_datasets_decodes_the_images(synth_run: Path, made: list[Trajectory], tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    export(synth_run, tmp_path / "out", form="parquet", shard_bytes=10**6)
    data = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(data) == len(made)
    for row, y in zip(data, made, strict=True):
        shown = [item for item in y.task.media if isinstance(item, Picture)]
        shown += [image for turn in y.turns if turn.observation for image in turn.observation.images]
        assert [np.asarray(image).tobytes() for image in row["images"]] == [p.pixels.tobytes() for p in shown]
        assert row["template"] == y.source


def test_the_schema_names_the_image_columns(prompts: Prompts, tmp_path: Path):
    """The notation of lists that every release of `datasets` reads; no rows are a file with columns."""
    write_parquet(tmp_path, (), prompts)
    schema = pq.read_schema(tmp_path / "data" / "train-00000-of-00001.parquet")
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["images"] == [{"_type": "Image"}]
    assert features["masked"] == [[{"dtype": "int64", "_type": "Value"}]]
    assert features.keys() == set(schema.names)
    assert str(schema.field("images").type).count("bytes: binary") == 1


# --------------------------------------------------------------------------------------------- shards


def noise(number: int, side: int = 40) -> Trajectory:
    """A trajectory whose picture is about 3 * side ** 2 bytes as a file: noise does not compress."""
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    task = Task(f"t-{number}", "Which?", (Picture(pixels),), ("B",))
    return Trajectory(task, (Turn("It is \\boxed{B}"),), StopReason.ANSWER, "B", source="text_only")


def test_a_shard_ends_before_its_budget(prompts: Prompts, tmp_path: Path):
    """Rows of about 5 kB and 12 kB of budget: two in each shard, and a larger one alone."""
    rows = [noise(0), noise(1), noise(2, side=100), noise(3), noise(4), noise(5)]
    write_parquet(tmp_path, iter(rows), prompts, shard_bytes=12_000)
    shards = sorted((tmp_path / "data").iterdir())
    assert [path.name for path in shards] == [f"train-0000{i}-of-00004.parquet" for i in range(4)]
    assert [pq.read_metadata(path).num_rows for path in shards] == [2, 1, 2, 1]
    assert list(read_parquet(tmp_path)) == rows


def test_few_rows_are_in_memory(prompts: Prompts, tmp_path: Path):
    """A group is written when it is full: no more than it has been taken beyond what is on the disk."""
    taken = 0

    def rows() -> Iterator[Trajectory]:
        nonlocal taken
        for number in range(2 * GROUP_ROWS + 5):
            if number == GROUP_ROWS + 1:
                (open_shard,) = (tmp_path / "data").iterdir()
                assert (
                    open_shard.stat().st_size > GROUP_ROWS * 190
                )  # an 8 x 8 picture takes 192 bytes and more
            taken += 1
            yield noise(number, side=8)

    write_parquet(tmp_path, rows(), prompts)
    (path,) = (tmp_path / "data").iterdir()
    groups = pq.read_metadata(path)
    assert [groups.row_group(i).num_rows for i in range(3)] == [GROUP_ROWS, GROUP_ROWS, 5]
    assert taken == 2 * GROUP_ROWS + 5


def test_a_photo_is_embedded_as_the_file_it_was(prompts: Prompts, tmp_path: Path):
    from pixelreasoner.core.media_io import load_image

    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(out, "JPEG")
    (tmp_path / "photo.jpg").write_bytes(out.getvalue())
    photo = replace(noise(0), task=Task("t", "Which?", (load_image(tmp_path / "photo.jpg"),), ("B",)))
    write_parquet(tmp_path, [photo], prompts)
    (row,) = rows_of(tmp_path)
    assert row["images"][0]["bytes"] == out.getvalue()
    assert row["images"][0]["path"].endswith(".jpg")
    assert list(read_parquet(tmp_path)) == [photo]


def test_what_arrow_cannot_hold_is_in_the_record(prompts: Prompts, tmp_path: Path):
    """Half a surrogate pair, a failed call, an infinite metric."""
    failed = Turn("Look \ud800", None, Observation("no such image", valid=False))
    y = replace(noise(0), turns=(failed, Turn("\\boxed{B}")), metrics={"far": float("inf")})
    write_parquet(tmp_path, [y], prompts)
    assert list(read_parquet(tmp_path)) == [y]
    assert rows_of(tmp_path)[0]["boxes"] == []


def test_what_is_no_export_is_named(prompts: Prompts, tmp_path: Path):
    with pytest.raises(RecordError, match="holds no Parquet shards"):
        list(read_parquet(tmp_path))
    write_parquet(tmp_path, [noise(0)], prompts)
    (path,) = (tmp_path / "data").iterdir()
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(RecordError, match=r"train-00000-of-00001\.parquet cannot be read"):
        list(read_parquet(tmp_path))
