"""Host memory in miniature: the numbers exist, and the photographs are what they are said to be."""

import json

import numpy as np
import pytest

from benchmarks import report
from benchmarks.host import measure
from benchmarks.photos import Photos


def test_photographs_are_different_pictures_of_the_same_pixels():
    photos = Photos()
    one, other = photos.picture(1), photos.picture(2)
    assert one != other
    assert photos.picture(1) == one
    assert np.array_equal(one.pixels[::50, ::50], other.pixels[::50, ::50])
    assert one.pixels.nbytes == photos.pixel_bytes == 36_000_000
    assert len(photos.content(1)) < 1_100_000


@pytest.mark.slow
def test_every_part_gives_a_record_that_the_tables_show():
    requests = (
        {"part": "sft", "rows": 3, "read": 1},
        {"part": "replay", "groups": 1},
        {"part": "batch", "groups": 1},
        {"part": "rl", "steps": 3, "state_every": 1},
    )
    records = [record for request in requests for record in json.loads(json.dumps(measure(request)))]
    data, replay, batch, growth = records
    assert data["tokens"] > 4000
    for record in (data, replay, batch):
        assert 0 < record["start_bytes"] <= record["peak_bytes"]
    assert len(growth["resident_bytes"]) == 3
    assert [step for step, _ in growth["states"]] == [1, 2, 3]
    assert growth["replay_groups"][0] > 0, "nothing was learned from: the part is empty"
    titles = [title for title, _, _ in report.tables(records)]
    assert titles == ["Host memory, 12-megapixel JPEGs", "Memory and state over steps"]
