"""What boxes of published trajectories claim: planted faults are found, and what is sound is not accused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.rewards.scorers import build_scorer
from pixelreasoner.tasks.datasets.pixelreasoner_sft import SftTrajectories
from pixelreasoner.tasks.datasets.sft_boxes import NOT_READ, BoxCheck
from tasks.datasets.conftest import write_json
from tasks.datasets.test_pixelreasoner_sft import call, crop, message, row

SIZE = (640, 480)
QUESTION = "Which letter is on the card?\nA. K\nB. M"


def scene(seed: int = 0) -> Image.Image:
    """A photograph of sorts: structure from coarse to fine."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize(SIZE), np.float32)
        for n in (5, 20, 60)
    ]
    return Image.fromarray((sum(layers) / 3).astype(np.uint8))


class Written:
    """Rows in the making: their pictures are cut from one scene."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.n, self.scene = folder, 0, scene()
        (folder / "images").mkdir()
        self.scene.save(folder / "images" / "a.png")

    def save(self, image: Image.Image) -> str:
        self.n += 1
        name = f"images/{self.n}.jpg"
        image.save(self.folder / name, quality=85)
        return name

    def cut(self, *box: int, scale: float = 1.0, of: Image.Image | None = None) -> str:
        image = (of or self.scene).crop(box)
        return self.save(image.resize((round(image.width * scale), round(image.height * scale))))

    def read(
        self, *steps: tuple[str, str], answer: str = "\\boxed{A}", question: str = QUESTION
    ) -> Trajectory:
        """The trajectory of calls, each with the picture that came back, and an answer."""
        said = [f"Look. {made}" for made, _ in steps]
        results = tuple(message("user", "Here:", image) for _, image in steps)
        first = message("user", question, "images/a.png")
        write_json(self.folder / "release.json", [row("r", *said, answer, first=first, results=results)])
        (made,) = SftTrajectories(str(self.folder))
        return made


@pytest.fixture
def data(tmp_path: Path) -> Written:
    return Written(tmp_path)


def reasons(made: Trajectory, **options: Any) -> list[str]:
    faults, _ = BoxCheck(build_scorer(), **options).faults(made)
    return [fault.reason for fault in faults]


def detail(made: Trajectory) -> str:
    [fault], _ = BoxCheck(build_scorer()).faults(made)
    return fault.detail


MISPLACED = "a crop is not the part of its picture that its box names"
BOX = (200, 120, 360, 240)


@pytest.mark.parametrize("scale", [1.0, 0.5, 2.0])
def test_a_crop_of_its_box_is_sound_at_any_size(data, scale):
    made = data.read((crop(*BOX), data.cut(*BOX, scale=scale)))
    faults, form = BoxCheck(build_scorer()).faults(made)
    assert (faults, form) == ([], "crops of their boxes")


def test_fractions_are_sound_and_so_is_the_margin_of_the_released_operation(data):
    fractions = [BOX[0] / 640, BOX[1] / 480, BOX[2] / 640, BOX[3] / 480]
    assert reasons(data.read((crop(*fractions), data.cut(*BOX)))) == []
    padded = (200 - 64, 120 - 48, 360 + 64, 240 + 48)
    made = data.read((crop(*fractions, name="crop_image_normalized"), data.cut(*padded)))
    faults, form = BoxCheck(build_scorer()).faults(made)
    assert (faults, form) == ([], "crops with a margin around their boxes")


@pytest.mark.parametrize(("dx", "dy"), [(20, 0), (0, -15), (-120, 60), (250, 200)])
def test_a_shifted_crop_is_found_and_where_it_lies_is_said(data, dx, dy):
    moved = (BOX[0] + dx, BOX[1] + dy, BOX[2] + dx, BOX[3] + dy)
    made = data.read((crop(*BOX), data.cut(*moved)))
    assert reasons(made) == [MISPLACED]
    where = detail(made).partition("it shows [")[2].rstrip("]").split(", ")
    assert all(abs(float(a) - b) <= 4 for a, b in zip(where, moved, strict=True)), where


def test_a_crop_of_another_picture(data):
    made = data.read((crop(*BOX), data.cut(*BOX, of=scene(1))))
    assert reasons(made) == [MISPLACED]
    assert detail(made).endswith("and was not found in it")


def test_a_crop_of_another_shape(data):
    assert reasons(data.read((crop(*BOX), data.cut(200, 120, 360, 400)))) == [
        "a crop does not have the shape of its box"
    ]


def test_pixels_where_thousandths_are_meant(data):
    thousandths = [313, 250, 563, 500]
    made = data.read((crop(*thousandths), data.cut(*BOX)))
    assert reasons(made) == ["a box is in other units than its numbers say"]
    assert detail(made).endswith("the crop fits thousandths, not pixels")


def test_pixels_where_fractions_are_meant(data):
    """A fraction a little beyond 1 makes the four numbers pixels."""
    made = data.read((crop(0.5, 0.25, 1.001, 0.75), data.cut(320, 120, 640, 360)))
    assert reasons(made) == ["a box is in other units than its numbers say"]
    assert detail(made).endswith("the crop fits fractions, not pixels")


def test_a_box_out_of_the_picture(data):
    made = data.read((crop(560, 400, 700, 500), data.cut(560, 400, 640, 480)))
    assert reasons(made) == ["a box reaches out of its picture"]
    assert reasons(data.read((crop(560, 400, 641.5, 480), data.cut(560, 400, 640, 480)))) == [], "by rounding"


def test_a_crop_below_28_pixels(data):
    made = data.read((crop(200, 120, 227, 170), data.cut(200, 120, 227, 170)))
    assert reasons(made) == ["a crop has a side below 28 pixels"]
    assert reasons(data.read((crop(200, 120, 228, 170), data.cut(200, 120, 228, 170)))) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"bbox_2d": [300, 200, 300, 260]}, "a box has no area"),
        ({"bbox_2d": [1, 2, 3]}, "a box is not four numbers"),
        ({"bbox_2d": "left"}, "a box is not four numbers"),
        ({"bbox_2d": list(BOX), "target_image": 7}, "a box is in a picture that there is not"),
        ({"target_frames": [1]}, "a frame that there is not"),
        ({"where": "left"}, "a picture comes back and no box or frames were named"),
    ],
)
def test_calls_that_name_nothing(data, arguments, reason):
    assert reasons(data.read((call(**arguments), data.cut(*BOX)))) == [reason]


def test_a_wrong_crop_shares_nothing_with_the_last_one_and_a_zoom_holds_it(data):
    def two(first: Sequence[int]) -> list[str]:
        return reasons(data.read((crop(*first), data.cut(*first)), (crop(*BOX), data.cut(*BOX))))

    assert two((20, 300, 180, 420)) == []
    assert two((100, 60, 500, 400)) == []
    assert two((300, 180, 460, 300)) == [
        "an earlier crop shares a part with the last one, and does not hold it"
    ]
    assert two((201, 121, 361, 241)) == ["an earlier crop shows the same as the last one"]


def test_a_crop_of_a_crop_is_followed_back_whatever_its_size(data):
    """The first crop is kept at half its size, so the second box is in those pixels."""
    outer, inner = (100, 60, 500, 360), (300, 160, 420, 260)
    half = [(inner[0] - 100) / 2, (inner[1] - 60) / 2, (inner[2] - 100) / 2, (inner[3] - 60) / 2]
    zoom = (crop(*outer), data.cut(*outer, scale=0.5)), (crop(*half, target=2), data.cut(*inner))
    assert reasons(data.read(*zoom)) == []
    beside = (
        (crop(*outer), data.cut(*outer, scale=0.5)),
        (crop(*half, target=2), data.cut(340, 160, 460, 260)),
    )
    assert reasons(data.read(*beside)) == [MISPLACED]


def test_frames(data):
    names = [data.save(scene(i)) for i in range(16)]
    first = message("user", "What happens?", video=names)

    def read(*shown: str, named: Sequence[int] = (9, 10), wrong: Sequence[int] = (1,)) -> list[str]:
        pictures = {"role": "user", "content": [{"text": "Frames:"}, *({"image": name} for name in shown)]}
        before = {"role": "user", "content": [{"text": "F:"}, *({"image": names[i - 1]} for i in wrong)]}
        calls = (call("select_frames", target_frames=list(frames)) for frames in (wrong, named))
        said = [f"Look. {made}" for made in calls]
        rows = [row("v", *said, "\\boxed{A}", first=first, results=(before, pictures))]
        write_json(data.folder / "release.json", rows)
        (made,) = SftTrajectories(str(data.folder))
        return reasons(made)

    assert read(names[8], names[9]) == []
    assert read(names[8], names[10]) == ["frames are shown that are not those named"]
    assert read(names[8]) == ["not as many frames as were named"]
    assert read(names[8], names[9], named=(9, 17)) == ["a frame that there is not"]
    assert read(names[8], names[9], wrong=(3, 9)) == ["earlier frames are among the last ones"]


def test_the_answer(data):
    step = crop(*BOX), data.cut(*BOX)
    assert reasons(data.read(step, answer="It is A.")) == ["the last message holds no answer"]
    assert reasons(data.read(step, answer="\\boxed{C}")) == ["the answer is none of the options"]
    known = {"references": {"r": ("B",)}}
    assert reasons(data.read(step), **known) == ["the answer is not the reference"]
    assert reasons(data.read(step, answer="\\boxed{(b)}"), **known) == []
    assert reasons(data.read(step), references={"another": ("B",)}) == []


def test_what_is_read_in_the_last_crop(data):
    made = data.read((crop(20, 300, 180, 420), data.cut(20, 300, 180, 420)), (crop(*BOX), data.cut(*BOX)))
    asked = []

    def reads(picture, trajectory):
        asked.append((picture, trajectory.answer))
        return "it reads 'M'"

    faults, _ = BoxCheck(build_scorer(), reads=reads).faults(made)
    assert [(f.reason, f.message, f.detail) for f in faults] == [(NOT_READ, 2, "it reads 'M'")]
    assert asked == [(made.turns[1].observation.images[0], "A")]


def test_a_trajectory_without_operations_has_no_boxes(data):
    faults, form = BoxCheck(build_scorer()).faults(data.read())
    assert (faults, form) == ([], "no operation that could be placed")
