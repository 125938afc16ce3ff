"""Positions and expansion, by hand. Equality with transformers is in the tests of the two families."""

import numpy as np
import pytest

from pixelreasoner.chat.layout import Layout, VisualBlock, expand

IMAGE, VIDEO = 90, 91


def block(grid, kind="image", time_step=1.0) -> VisualBlock:
    t, h, w = grid
    frames = np.zeros((1, 1, 1, 3), dtype=np.uint8)
    return VisualBlock(f"{grid}", kind, frames, grid, t * h * w // 4, time_step)


def lay(ids, *blocks) -> Layout:
    return expand(tuple(ids), blocks, frozenset({IMAGE, VIDEO}), 2)


def test_text_alone():
    row = lay([5, 6, 7])
    assert row.ids_T.tolist() == [5, 6, 7]
    assert row.position_3T.tolist() == [[0, 1, 2]] * 3
    assert (row.kind_T.tolist(), row.owner_T.tolist(), row.next_position) == ([0, 0, 0], [0, 1, 2], 3)


def test_an_empty_row_starts_at_zero():
    assert lay([]).next_position == 0


def test_an_image_spans_its_merged_grid():
    row = lay([5, IMAGE, 6], block((1, 4, 6)))  # 2 x 3 tokens
    assert row.ids_T.tolist() == [5, *[IMAGE] * 6, 6]
    assert row.kind_T.tolist() == [0, *[1] * 6, 0]
    assert row.owner_T.tolist() == [0, *[1] * 6, 2]
    assert row.position_3T.tolist() == [
        [0, 1, 1, 1, 1, 1, 1, 4],
        [0, 1, 1, 1, 2, 2, 2, 4],
        [0, 1, 2, 3, 1, 2, 3, 4],  # the text goes on past the longer side
    ]


def test_neighbouring_images_and_an_image_at_the_end():
    row = lay([IMAGE, IMAGE], block((1, 4, 2)), block((1, 2, 2)))
    assert row.position_3T[0].tolist() == [0, 0, 2]
    assert row.position_3T[1].tolist() == [0, 1, 2]
    assert row.next_position == 3


def test_time_steps_of_a_video():
    """The example of transformers' own documentation: 3 temporal patches 50 positions apart, then text."""
    row = lay([VIDEO, 7, 8], block((3, 4, 4), "video", time_step=50.0))
    assert row.position_3T[0].tolist() == [0] * 4 + [50] * 4 + [100] * 4 + [101, 102]
    assert row.position_3T[1].tolist() == [0, 0, 1, 1] * 3 + [101, 102]
    assert row.kind_T.tolist() == [2] * 12 + [0, 0]
    assert row.next_position == 103


def test_time_steps_are_rounded_down_after_the_product():
    row = lay([VIDEO], block((4, 2, 2), "video", time_step=0.75))
    assert row.position_3T[0].tolist() == [0, 0, 1, 2]


def test_a_slice_has_its_tokens_positions_and_blocks():
    wide, tall = block((1, 2, 4)), block((1, 4, 2))  # two tokens each
    row = lay([5, IMAGE, 6, IMAGE, 7], wide, tall)
    middle = row.slice(1, 4)
    assert middle.ids_T.tolist() == [IMAGE, IMAGE, 6]
    assert middle.position_3T.tolist() == row.position_3T[:, 1:4].tolist()
    assert middle.owner_T.tolist() == [1, 1, 2]
    assert middle.blocks == (wide,)
    assert row.slice(3, 7).blocks == (tall,)
    assert row.slice(3, 4).blocks == row.slice(2 + 1, 3).blocks == ()
    assert row.slice(0, len(row)).blocks == (wide, tall)


@pytest.mark.parametrize(("start", "stop"), [(2, 4), (0, 2)])
def test_a_slice_never_cuts_a_block(start, stop):
    with pytest.raises(AssertionError, match="within a block"):
        lay([5, IMAGE, 6], block((1, 2, 4))).slice(start, stop)


def test_joined_slices_are_the_row_again_recorded_nowhere():
    row = lay([5, IMAGE, 6, IMAGE, 7], block((1, 2, 4)), block((1, 4, 2)))
    again = Layout.join([row.slice(0, 3), row.slice(3, 4), row.slice(4, len(row))])
    assert again.ids_T.tolist() == row.ids_T.tolist()
    assert again.kind_T.tolist() == row.kind_T.tolist()
    assert again.position_3T.tolist() == row.position_3T.tolist()
    assert again.blocks == row.blocks
    assert set(again.owner_T.tolist()) == {-1}
