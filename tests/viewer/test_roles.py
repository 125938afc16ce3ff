"""Which operation is drawn as wrong, too large, or on the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.viewer.html import trajectory_html
from pixelreasoner.viewer.pictures import Mark
from pixelreasoner.viewer.roles import operation_roles, template_of
from pixelreasoner.viewer.steps import view

PHOTO = Picture(np.zeros((200, 400, 3), np.uint8))
CUE = Cue(box=Box(100, 100, 110, 110))
AROUND, HALF, ELSEWHERE, HUGE = (
    Box(90, 90, 120, 120),
    Box(105, 90, 135, 120),
    Box(0, 0, 30, 30),
    Box(60, 60, 160, 160),
)


def crops(
    *boxes: Box, masked: Sequence[int] = (), cue: Cue | None = CUE, source: str = "recrop_once"
) -> Trajectory:
    """Crops of the photo, those at the places `masked` not learned."""
    turns = [
        Turn(
            "Look.",
            observation=Observation(
                "Image:", (PHOTO.crop(*(int(v) for v in (b.x1, b.y1, b.x2, b.y2))),), box=b
            ),
            masked=(0, 5) if i in masked else None,
        )
        for i, b in enumerate(boxes)
    ]
    task = Task("t", "Which?", (PHOTO,), ("K",), cue=cue)
    return Trajectory(task, (*turns, Turn("K")), StopReason.ANSWER, "K", source=source)


@pytest.mark.parametrize(
    ("made", "roles"),
    [
        (crops(AROUND), ["fitting", "crop"]),
        (crops(ELSEWHERE, AROUND, masked=[0]), ["wrong", "fitting", "crop"]),
        # 100 x 100 pixels are far larger than 30 x 30, whether they are learned or not.
        (crops(HUGE, AROUND, masked=[0]), ["large", "fitting", "crop"]),
        (crops(HUGE, AROUND), ["large", "fitting", "crop"]),
        # Nothing closer follows.
        (crops(AROUND, HUGE), ["fitting", "fitting", "crop"]),
        # 30 x 30 are less than twice 30 x 30; and half a cue is some of it.
        (crops(AROUND, HALF), ["fitting", "fitting", "crop"]),
        # Not masked and not on the evidence: nobody said that it is wrong on purpose.
        (crops(ELSEWHERE, AROUND), ["crop", "fitting", "crop"]),
        # Converted data have masks and no cue.
        (crops(ELSEWHERE, AROUND, masked=[0], cue=None), ["wrong", "crop", "crop"]),
        # What a model sampled is not judged.
        (crops(HUGE, AROUND, source="policy"), ["crop", "crop", "crop"]),
    ],
)
def test_roles_follow_from_masks_and_regions(made: Trajectory, roles: list[str]):
    assert list(operation_roles(made)) == roles


def test_only_what_synthesis_wrote_has_a_template():
    sources = ("recrop_once", "text_only", "policy", "reference")
    assert [template_of(crops(AROUND, source=s)) for s in sources] == ["recrop_once", "text_only", "", ""]


def test_boxes_are_drawn_on_the_original_with_their_roles():
    made = crops(ELSEWHERE, HUGE, AROUND, masked=[0, 1])
    (photo,) = view(made).figures
    # 400 x 200 pixels: a quarter and half a percent for each.
    assert photo.marks == (
        Mark("wrong", "2 wrong", left=0, top=0, width=7.5, height=15),
        Mark("large", "3 too large", left=15, top=30, width=25, height=50),
        Mark("fitting", "4", left=22.5, top=45, width=7.5, height=15),
        Mark("cue", "", left=25, top=50, width=2.5, height=5),
    )
    assert photo.alt.endswith("with crop 2 wrong and crop 3 too large and crop 4 and the evidence marked")
    assert [kind for kind, _ in view(made).legend] == ["fitting", "wrong", "large", "cue"]
    assert [turn.role for turn in view(made).turns] == ["wrong", "large", "fitting", ""]


def test_a_page_has_a_legend_in_words_and_the_reason():
    page = trajectory_html(replace(crops(HUGE, AROUND, masked=[0]), rejection="judge: <not> needed"))
    assert "too large on purpose: a closer crop follows" in page
    assert "wrong on purpose" not in page
    assert "Turned down. judge: &lt;not&gt; needed" in page


def test_selected_frames_have_the_role_of_the_last_selection():
    frames = tuple(Picture(np.full((4, 4, 3), i, np.uint8)) for i in range(4))
    task = Task("v", "What?", (Video(frames),), ("cup",), cue=Cue(frames=(3,)))
    wrong = Turn("A", observation=Observation("", frames[:2], frames=(1, 2)), masked=(0, 1))
    right = Turn("B", observation=Observation("", frames[1:3], frames=(2, 3)))
    made = Trajectory(task, (wrong, right, Turn("C")), StopReason.ANSWER, source="reselect")
    (strip,) = view(made).strips
    assert [figure.role for figure in strip] == ["wrong", "fitting", "fitting", ""]
    assert [figure.alt for figure in strip][:2] == [
        "Frame 1 at 0.0 s, selected wrong",
        "Frame 2 at 1.0 s, selected",
    ]
