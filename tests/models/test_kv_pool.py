"""Rows keep their tokens, wherever they are moved: a random life against a plain dictionary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pixelreasoner.models.kv_pool import Slots

HEADS, WIDTH, LAYERS = 2, 3, 2


@dataclass(eq=False)
class Item:
    slot: int = -1
    n_tokens: int = 0


def test_rows_keep_their_tokens():
    rng = np.random.default_rng(0)
    slots: Slots[Item] = Slots(LAYERS)
    expected: dict[Item, torch.Tensor] = {}
    busy: set[Item] = set()
    for _ in range(2000):
        resting = [item for item in expected if item not in busy]
        match rng.integers(5):
            case 0:
                item = Item()
                slots.add(item)
                expected[item] = torch.zeros(LAYERS, 2, HEADS, 0, WIDTH)
            case 1 if len(resting) > 5:
                gone = resting[rng.integers(len(resting))]
                slots.drop(gone)
                del expected[gone]
            case 2 if resting:
                item = resting[rng.integers(len(resting))]
                slots.wake(item)
                busy.add(item)
            case 3 if busy:
                item = slots.busy[rng.integers(len(busy))]
                slots.rest(item)
                busy.remove(item)
            case 4 if busy:
                item = slots.busy[rng.integers(len(busy))]
                n = int(rng.integers(1, 30))
                new = torch.from_numpy(rng.normal(size=(LAYERS, 2, HEADS, n, WIDTH)).astype(np.float32))
                slots.pool.reserve(0, item.n_tokens + n)
                for index in range(LAYERS):
                    held = slots.pool.layer(index, new[index])
                    held[:, item.slot, :, item.n_tokens : item.n_tokens + n] = new[index]
                item.n_tokens += n
                expected[item] = torch.cat([expected[item], new], -2)
        assert len(slots) == len(expected)
        assert set(slots.busy) == busy
        assert [item.slot for item in slots.busy] == list(range(len(busy)))
    assert any(tokens.shape[-2] for tokens in expected.values())
    for item, tokens in expected.items():
        for index in range(LAYERS):
            if tokens.shape[-2]:
                torch.testing.assert_close(
                    slots.pool.layer(index)[:, item.slot, :, : item.n_tokens], tokens[index]
                )
                assert slots.pool.layer(index).isfinite().all()
