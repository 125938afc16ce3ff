"""Rules of the pages of many trajectories: all is there once, nothing a model wrote is markup or script."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.trajectory import StopReason, Trajectory, Turn
from pixelreasoner.viewer.gallery import IN_CHUNK, IN_PAGE, Attempts, script_json, write_gallery

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    '"><a href="javascript:alert(1)">',
    "<!-- ]]> ${x} {{ x }} `",
    "line\u2028and\u2029paragraph\x00\ud800",
)


def data_of(path: Path, name: str) -> list[Any]:
    """The arguments that a data file calls its function with."""
    call = re.fullmatch(
        r"pixelreasoner\.\w+\((.*)\);\n", (path.with_name(f"{path.stem}_files") / name).read_text()
    )
    assert call is not None
    return json.loads(f"[{call[1]}]")


def many(trajectory: Trajectory, n: int, **changes: Any) -> Iterator[Trajectory]:
    for i in range(n):
        yield replace(trajectory, task=replace(trajectory.task, id=f"t{i}"), **changes)


def test_the_first_attempts_are_in_the_page_and_all_are_in_its_data(zoomed: Trajectory, tmp_path: Path):
    path, n = tmp_path / "page.html", 2 * IN_CHUNK + 3
    assert write_gallery(path, [Attempts("m", many(zoomed, n))], title="A & B") == n
    page = path.read_text()
    assert "<title>A &amp; B</title>" in page
    assert page.count('<details class="trajectory"') == IN_PAGE
    assert page.count('<details class="trajectory" open') == 1
    assert "<noscript>" in page
    chunks = [data_of(path, f"attempts-0-{k}.js") for k in range(3)]
    assert [(model, k, len(bodies)) for model, k, bodies in chunks] == [(0, 0, 50), (0, 1, 50), (0, 2, 3)]
    (index,) = data_of(path, "index.js")
    assert index["chunk"] == IN_CHUNK
    assert [task[0] for task in index["tasks"]] == [f"t{i}" for i in range(n)]
    assert data_of(path, "messages-0.js") == [0, ["\n".join(t.text for t in zoomed.turns)] * n]


def test_a_picture_of_many_attempts_is_one_file(zoomed: Trajectory, tmp_path: Path):
    write_gallery(tmp_path / "page.html", [Attempts("m", many(zoomed, 30))], title="")
    pictures = {f.name for f in (tmp_path / "page_files").iterdir() if f.suffix in (".png", ".jpeg")}
    # The photo, and the crops of 80 x 60 and 20 x 20 pixels: no shown size is smaller than they are.
    assert {name.split("-")[1] for name in pictures} == {"200x100.png", "80x60.png", "20x20.png"}
    assert len(pictures) == 3
    page = (tmp_path / "page.html").read_text()
    assert set(re.findall(r'src="page_files/([^"]*\.(?:png|jpeg))"', page)) == pictures


def test_the_page_grows_with_its_text_only(zoomed: Trajectory, tmp_path: Path):
    for n in (IN_PAGE, 10 * IN_PAGE):
        write_gallery(tmp_path / str(n) / "p.html", [Attempts("m", many(zoomed, n))], title="")
    small, large = ((tmp_path / str(n) / "p.html").stat().st_size for n in (IN_PAGE, 10 * IN_PAGE))
    assert large - small < 100
    index = (tmp_path / str(10 * IN_PAGE) / "p_files" / "index.js").stat().st_size
    assert index < 250 * 10 * IN_PAGE, "what every visitor loads, in bytes per attempt"


def test_a_row_of_the_index_has_what_is_filtered_and_sorted_by(
    zoomed: Trajectory, clip: Trajectory, tmp_path: Path
):
    unscored = replace(clip, stop=StopReason.TURN_LIMIT, answer=None, metrics={"reward": float("nan")})
    write_gallery(tmp_path / "p.html", [Attempts("m", [zoomed, unscored])], title="")
    (index,) = data_of(tmp_path / "p.html", "index.js")
    assert index["tasks"] == [
        ["t", "Which <b>letter</b>?", "attribute", 1, "K"],
        ["v", "What turns red?", "clip", None, "cup"],
    ]
    (model,) = index["models"]
    assert model["numbers"] == [
        "operations",
        "failed calls",
        "turns",
        "tokens",
        "correct",
        "curiosity",
        "reward",
    ]
    assert model["attempts"] == [
        [0, 1.0, "answer", ["crop_image"], "K", [2, 1, 4, 0, 1.0, 0.0875, None], "", ""],
        [1, None, "turn_limit", ["select_frames"], None, [1, 0, 2, 0, None, None, None], "", ""],
    ]


def test_the_index_has_templates_and_why_one_was_turned_down(zoomed: Trajectory, tmp_path: Path):
    """The reason without its detail: that is what attempts have in common."""
    kept = replace(zoomed, source="further_zoom")
    turned_down = replace(kept, rejection="judge: the crop is not needed (it read K elsewhere)")
    write_gallery(tmp_path / "p.html", [Attempts("m", [kept, turned_down])], title="")
    (index,) = data_of(tmp_path / "p.html", "index.js")
    rows = [row[6:] for row in index["models"][0]["attempts"]]
    assert rows == [["further_zoom", ""], ["further_zoom", "judge: the crop is not needed"]]
    assert "it read K elsewhere" in (tmp_path / "p.html").read_text()


def test_two_models_meet_at_their_tasks_in_any_order(zoomed: Trajectory, clip: Trajectory, tmp_path: Path):
    path = tmp_path / "p.html"
    other = replace(zoomed, task=replace(zoomed.task, id="t2"))
    models = [Attempts("A", [zoomed, clip]), Attempts("B", [clip, other, zoomed])]
    assert write_gallery(path, models, title="") == 3
    (index,) = data_of(path, "index.js")
    assert [[row[0] for row in model["attempts"]] for model in index["models"]] == [[0, 1], [1, 2, 0]]
    assert "A: 2 attempts, 50.0\u00a0% right" in path.read_text()


def test_several_attempts_at_one_task_stay_apart(zoomed: Trajectory, tmp_path: Path):
    models = [Attempts("step 1", [zoomed] * 3), Attempts("step 2", [zoomed] * 2)]
    assert write_gallery(tmp_path / "p.html", models, title="") == 3
    (index,) = data_of(tmp_path / "p.html", "index.js")
    assert [[row[0] for row in model["attempts"]] for model in index["models"]] == [[0, 1, 2], [0, 1]]


@pytest.mark.parametrize("changed", ["id", "question", "picture"])
def test_other_tasks_are_not_compared(zoomed: Trajectory, clip: Trajectory, tmp_path: Path, changed: str):
    values = {"id": "x", "question": "Else?", "picture": (clip.task.media[0],)}
    task = replace(zoomed.task, **{"media" if changed == "picture" else changed: values[changed]})
    models = [Attempts("A", [zoomed]), Attempts("B", [replace(zoomed, task=task)])]
    with pytest.raises(RecordError, match="no task in common"):
        write_gallery(tmp_path / "p.html", models, title="")
    assert not (tmp_path / "p.html").exists()


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_from_a_model_or_a_task_is_markup_or_script(zoomed: Trajectory, tmp_path: Path, text: str):
    task = replace(zoomed.task, id=text, question=text, kind=text, answers=(text,))
    last = Turn(text, call=replace(zoomed.turns[0].call, name=text, arguments={text: text}))
    hostile = replace(zoomed, task=task, turns=(*zoomed.turns[:-1], last), answer=text, metrics={text: 1.0})
    path = tmp_path / "p.html"
    write_gallery(path, [Attempts(text, [hostile] * 2)], title=text)
    page = path.read_text(encoding="utf-8")
    assert page.count("<script") == 2, "gallery.js and index.js"
    _, _, (body, _) = data_of(path, "attempts-0-0.js")
    for markup in (page, body):
        for tag in re.findall(r"<(\w+)[^>]*>", markup):
            assert tag not in ("a", "iframe", "object")
        assert "<img src=x" not in markup
        assert "<script>alert" not in markup
        assert "<!--" not in markup
    (index,) = data_of(path, "index.js")
    assert index["tasks"][0][:3] == [text] * 3, "the data hold it unchanged; gallery.js makes it text"
    for name in ("index.js", "attempts-0-0.js", "messages-0.js"):
        script = (tmp_path / "p_files" / name).read_bytes()
        assert script.isascii()
        assert not set(b"<>&") & set(script)


def test_the_script_makes_markup_of_escaped_bodies_only():
    from pixelreasoner.viewer.html import asset

    script = asset("gallery.js")
    assert re.findall(r"\.innerHTML\s*=\s*(\w+)", script) == ["bodies"]
    for way in ("outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
        assert way not in script


@pytest.mark.parametrize(
    "value", ["</script>", "<!--", "\u2028", "\u2029", "&lt;", "\ud800", ["é", {"<": None}]]
)
def test_script_json_is_safe_and_comes_back(value: object):
    text = script_json(value)
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert json.loads(text) == value


def test_a_page_written_again_leaves_nothing_of_the_old_one(
    zoomed: Trajectory, clip: Trajectory, tmp_path: Path
):
    path, mine = tmp_path / "p.html", tmp_path / "p_files" / "notes.js"
    write_gallery(path, [Attempts("A", many(zoomed, IN_CHUNK + 1)), Attempts("B", many(zoomed, 1))], title="")
    mine.write_text("the user's")
    write_gallery(path, [Attempts("A", [clip])], title="")
    fresh = tmp_path / "fresh.html"
    write_gallery(fresh, [Attempts("A", [clip])], title="")
    names = {f.name for f in (tmp_path / "p_files").iterdir()}
    assert names - {"notes.js"} == {f.name for f in (tmp_path / "fresh_files").iterdir()}
    assert mine.read_text() == "the user's"


def test_a_place_that_cannot_be_written_is_the_users_error(zoomed: Trajectory, tmp_path: Path):
    (tmp_path / "p_files").write_text("a file where the folder would be")
    with pytest.raises(RecordError, match="cannot be written"):
        write_gallery(tmp_path / "p.html", [Attempts("A", [zoomed])], title="")
    with pytest.raises(RecordError, match="no trajectories"):
        write_gallery(tmp_path / "q.html", [Attempts("A", [])], title="")
