"""A decoder with recurrent layers: what it keeps of a sequence stands for the tokens it has read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pixelreasoner.core.task import Task
from pixelreasoner.models.kv_pool import in_blocks
from pixelreasoner.models.recurrent_states import StateBatch, is_recurrent, read
from pixelreasoner.models.static_states import StaticStateBatch
from prompting import prompt_of

# A state is in float32 whatever the weights are.
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture
def model(load_model, qwen35_folder):
    return load_model(qwen35_folder)


@pytest.fixture
def rows(model, picture, video):
    """Pictures, a video, words alone; of different lengths, around the layers' chunks of 64 tokens."""
    tasks = [
        Task("a", "Which number?", (picture(40, 24), picture(16, 16, 1)), ()),
        Task("b", "Which frame shows it?", (video(5, fps=4.0),), ()),
        Task("c", "What is 7? " * 12, (), ()),
    ]
    return [model.renderer.layout([prompt_of(model.renderer, task, ())]) for task in tasks]


def whole(model, row):
    """The hidden states [T, D] of a row that is read in one go, without a cache."""
    return model(model.embed([row], model.encode(row.blocks), left=False))[0]


def test_families(load_model, qwen3_folder, qwen25_folder, model):
    assert model.recurrent
    assert not any(load_model(folder).recurrent for folder in (qwen3_folder, qwen25_folder))
    assert not is_recurrent(object())


@pytest.mark.parametrize("cut", [1, 3, 20])
@torch.no_grad()
def test_reading_goes_on_where_it_stopped(model, rows, cut):
    """The cuts are before and after the kernel of the convolution is full."""
    row = rows[2]
    expected = whole(model, row)
    first, state = read(model, row.slice(0, cut), {}, None)
    before = [x.clone() for pair in state.layers for x in pair]
    last, after = read(model, row.slice(cut, len(row)), {}, state)
    torch.testing.assert_close(first, expected[cut - 1], **CLOSE)
    torch.testing.assert_close(last, expected[-1], **CLOSE)
    assert (state.n_tokens, after.n_tokens) == (cut, len(row))
    assert all(torch.equal(x, y) for x, y in zip(before, (x for p in state.layers for x in p), strict=True))


@pytest.mark.parametrize("kind", [StateBatch, StaticStateBatch])
@torch.no_grad()
def test_a_batch_of_any_lengths(model, rows, kind):
    """Token by token beside others that come and go: as each row alone."""
    texts = [[300, 301, 302, 303], [310, 311, 312, 313], [320, 321, 322, 323]]
    features = model.encode(block for row in rows for block in row.blocks)
    batch = kind(model)
    states = [read(model, row, features, None)[1] for row in rows]
    seen = {i: [] for i in range(3)}

    def step(members, n):
        tokens = [texts[i][n[i]] for i in members]
        positions = [rows[i].next_position + n[i] for i in members]
        for i, hidden in zip(members, batch.read_next(tokens, positions), strict=True):
            seen[i].append(hidden.clone())  # it lasts until the next call
            n[i] += 1

    n = dict.fromkeys(range(3), 0)
    batch.add(states[:2])
    step([0, 1], n)
    batch.add(states[2:])
    step([0, 1, 2], n)
    assert batch.trim() == (kind is StaticStateBatch)
    room = batch._room if kind is StateBatch else in_blocks(batch._room + 1)
    spare = sum(room - row.n_tokens for row in (batch.state(i) for i in range(3)))
    assert batch.n_bytes == sum(batch.state(i).n_bytes for i in range(3)) + spare * states[0].token_bytes
    kept = batch.state(1)
    batch.keep([2, 0])
    step([2, 0], n)
    step([2, 0], n)
    batch.keep([0])
    batch.add([kept])  # resumed
    batch.keep([1])
    step([1], n)
    for i, row in enumerate(rows):
        ids = texts[i][: len(seen[i])]
        longer = _followed(row, ids)
        hidden = whole(model, longer)[-len(ids) :]
        torch.testing.assert_close(torch.stack(seen[i]), hidden, **CLOSE)


def _followed(row, ids):
    from pixelreasoner.chat.layout import Layout

    n = len(ids)
    position = np.tile(np.arange(n) + row.next_position, (3, 1))
    text = Layout(np.array(ids), np.zeros(n, np.int8), np.full(n, -1), position, ())
    return Layout.join([row, text])
