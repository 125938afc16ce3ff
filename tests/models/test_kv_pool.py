"""Rows keep their tokens, wherever they are moved: random calls against a plain dictionary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pixelreasoner.models.kv_pool import SlotAllocator

HEADS, WIDTH, LAYERS = 2, 3, 2


@dataclass(eq=False)
class Item:
    slot: int = -1
    n_tokens: int = 0


def test_rows_keep_their_tokens():
    rng = np.random.default_rng(0)
    slots: SlotAllocator[Item] = SlotAllocator(LAYERS)
    expected: dict[Item, torch.Tensor] = {}
    running: set[Item] = set()
    for _ in range(2000):
        preempted = [item for item in expected if item not in running]
        match rng.integers(6):
            case 0:
                item = Item()
                slots.add(item)
                expected[item] = torch.zeros(LAYERS, 2, HEADS, 0, WIDTH)
            case 1 if len(preempted) > 5:
                gone = preempted[rng.integers(len(preempted))]
                slots.evict(gone)
                del expected[gone]
            case 2 if preempted:
                item = preempted[rng.integers(len(preempted))]
                slots.resume(item)
                running.add(item)
            case 3 if running:
                item = slots.running[rng.integers(len(running))]
                slots.preempt(item)
                running.remove(item)
            case 4 if running:
                item = slots.running[rng.integers(len(running))]
                n = int(rng.integers(1, 30))
                new = torch.from_numpy(rng.normal(size=(LAYERS, 2, HEADS, n, WIDTH)).astype(np.float32))
                slots.pool.reserve(0, item.n_tokens + n)
                for index in range(LAYERS):
                    held = slots.pool.layer(index, new[index])
                    held[:, item.slot, :, item.n_tokens : item.n_tokens + n] = new[index]
                item.n_tokens += n
                expected[item] = torch.cat([expected[item], new], -2)
            case 5:
                most = max((item.n_tokens for item in expected), default=0)
                slots.pool.resize(len(expected), most)  # the smallest size that loses nothing
        assert len(slots) == len(expected)
        assert set(slots.running) == running
        assert [item.slot for item in slots.running] == list(range(len(running)))
    assert any(tokens.shape[-2] for tokens in expected.values())
    for item, tokens in expected.items():
        for index in range(LAYERS):
            if tokens.shape[-2]:
                torch.testing.assert_close(
                    slots.pool.layer(index)[:, item.slot, :, : item.n_tokens], tokens[index]
                )
                assert slots.pool.layer(index).isfinite().all()
