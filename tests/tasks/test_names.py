"""Rules of the names of tasks and their media."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelreasoner.core.image_files import open_image
from pixelreasoner.core.task import Task
from pixelreasoner.tasks.names import names_in, names_of, telling


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SA-1B/sa_223750.jpg", "sa_223750"),
        (r"folder\SA_223750.PNG", "sa_223750"),
        ("v_1LpsuQ8qVJQ.mp4", "v_1lpsuq8qvjq"),
        ("6H78U", "6h78u"),
        ("000000123456.jpg", "000000123456"),
        ("Interaction_T1_13", "interaction_t1_13"),
        ("12.jpg", None),
        ("123456", None),
        ("image_1.png", None),
        ("train-17", None),
        ("frame 003.jpg", None),
        ("0036d7c65db253ec596d23aa1486e5b5.png", None),
    ],
)
def test_a_name_tells_one_picture_from_all_others(text: str, name: str | None):
    assert telling(text) == name


def test_names_of_a_row_are_files_and_ids_of_whatever_schema():
    row = {
        "question_id": "Interaction_T1_13", "video_id": "6H78U", "question": "What is in sa_1.jpg?",
        "images": [{"path": "a/sa_223750.jpg", "bytes": "x" * 400 + ".jpg"}], "media": ["b/COCO_77001.png"],
        "answer": "plate.", "n": 1234567, "flag_id": True,
    }  # fmt: skip
    assert set(names_in(row)) == {"interaction_t1_13", "6h78u", "sa_223750", "coco_77001"}


def test_names_of_a_task_are_its_id_and_its_files(tmp_path: Path):
    path = tmp_path / "sa_99.png"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    picture = open_image(path, "it")
    assert picture is not None
    assert set(names_of(Task("vstar-relation-7", "?", (picture,), ()))) == {"vstar-relation-7", "sa_99"}
