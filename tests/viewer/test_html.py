"""Rules of the page: nothing is loaded from elsewhere, no generated text is markup, all of it is there."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.viewer.html import trajectory_html
from pixelreasoner.viewer.save import save


def test_the_page_loads_nothing(zoomed: Trajectory, clip: Trajectory):
    for page in (trajectory_html(zoomed), trajectory_html(clip)):
        sources = re.findall(r'(?:src|href)="([^"]*)"', page)
        assert sources
        assert all(s.startswith("data:image/") for s in sources)
        assert "http:" not in re.sub(r'src="[^"]*"', "", page)
        assert "https:" not in re.sub(r'src="[^"]*"', "", page)
        assert "<script" not in page


def test_generated_text_is_escaped(zoomed: Trajectory):
    page = trajectory_html(zoomed)
    assert "Which &lt;b&gt;letter&lt;/b&gt;?" in page
    assert "Too small &lt;to read&gt;." in page


def test_control_characters_are_shown(zoomed: Trajectory):
    odd = replace(zoomed, answer="\u202e<b>\x1b[2J", task=replace(zoomed.task, question="Why\u2066?\x00"))
    page = trajectory_html(odd)
    assert "\\u202e&lt;b&gt;␛[2J" in page
    assert "Why\\u2066?␀" in page
    assert not set(page) & set("\u202e\u2066\x1b\x00")


def test_the_page_shows_calls_results_answer_and_scores(zoomed: Trajectory):
    page = trajectory_html(zoomed)
    for words in (
        "crop_image(bbox_2d=[100, 20, 180, 80], target_image=1)", "there is no image 9", "deliberately wrong",
        "✓ right", "curiosity <b>0.0875</b>", "where the evidence is", "cut out by the model",
    ):  # fmt: skip
        assert words in page
    assert page.count("<img") == 1 + 2 + 2


def test_selected_frames_are_highlighted(clip: Trajectory):
    page = trajectory_html(clip)
    assert page.count('selected" style') == 2
    assert "✗ wrong" in page


def test_the_page_forbids_scripts_and_everything_from_elsewhere(zoomed: Trajectory):
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', trajectory_html(zoomed))
    assert policy.split("; ") == ["default-src 'none'", "img-src data:", "style-src 'unsafe-inline'"]


def test_headings_follow_one_another_without_a_gap(zoomed: Trajectory):
    assert re.findall(r"<h(\d)", trajectory_html(zoomed)) == ["1", "2"]


def test_every_picture_has_words(zoomed: Trajectory, clip: Trajectory):
    alts = re.findall(r'<img [^>]*alt="([^"]*)"', trajectory_html(zoomed))
    assert alts == [
        "Image 1, 200\u2009×\u2009100, with crop 2 and crop 3 and the evidence marked",
        "in image 1, with crop 2 marked", "Image 2, 80\u2009×\u200960",
        "in image 2, with crop 3 marked", "Image 3, 20\u2009×\u200920",
    ]  # fmt: skip
    assert "Frame 2 at 0.5 s, selected" in trajectory_html(clip)


def test_a_place_that_cannot_be_written_is_the_users_error(zoomed: Trajectory, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot be written"):
        save(zoomed, tmp_path / "file" / "trace.html")


def test_a_trajectory_saves_itself_by_suffix(zoomed: Trajectory, tmp_path: Path):
    save(zoomed, tmp_path / "trace.html")
    assert "✓ right" in (tmp_path / "trace.html").read_text()
    save(zoomed, str(tmp_path / "trace.jsonl"))
    assert list(read_trajectories(tmp_path / "trace.jsonl")) == [zoomed]
    with pytest.raises(RecordError, match=r"\.html or \.jsonl"):
        save(zoomed, tmp_path / "trace.pdf")
