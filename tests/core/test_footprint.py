"""What a record takes: every part once, pictures in files next to nothing."""

import numpy as np

from pixelreasoner.core.footprint import NUMBER_BYTES, PICTURE_BYTES, n_bytes
from pixelreasoner.core.media import Picture
from pixelreasoner.core.media_io import peek_image, save_image
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Segment

PIXELS = np.zeros((100, 200, 3), np.uint8)


def test_tokens_and_pixels_are_counted():
    empty = n_bytes(Segment((1,)))
    assert n_bytes(Segment(tuple(range(1001)))) - empty == 1000 * NUMBER_BYTES
    pictured = Segment((1,), media=(Picture(PIXELS),))
    assert 0 <= n_bytes(pictured) - empty - PIXELS.nbytes - PICTURE_BYTES < 1000


def test_what_is_shared_is_counted_once():
    task = Task("t", "?", (Picture(PIXELS),), ())
    assert n_bytes((task, task)) < n_bytes((task,)) + 100
    assert n_bytes(task, Task("t", "?", (Picture(PIXELS.copy()),), ())) > 2 * PIXELS.nbytes


def test_a_picture_in_a_file_takes_next_to_nothing(tmp_path):
    save_image(Picture(PIXELS), tmp_path / "a.png")
    assert n_bytes(Task("t", "?", (peek_image(tmp_path / "a.png"),), ())) < 4000
