"""Features are remembered exactly as long as they cannot change, and within a number of bytes."""

from __future__ import annotations

import pytest
import torch

from pixelreasoner.models.features import FeatureStore


@pytest.fixture
def blocks(own_model, picture):
    """Of pictures of 6 tokens each."""
    return [own_model.renderer.blocks(picture(24, 16, seed), crop=False)[0] for seed in range(5)]


@pytest.fixture
def passes(own_model):
    """How many pictures went through the tower, pass by pass."""
    seen = []
    own_model.vision.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(len(kwargs["grid_thw"])), with_kwargs=True
    )
    return seen


def bytes_of_one(model, blocks) -> int:
    features = model.encode(blocks[:1])[blocks[0].key]
    return sum(x.nbytes for x in (features.tokens_MD, *features.deepstack))


def test_a_frozen_tower_runs_once_per_picture(own_model, blocks, passes):
    own_model.vision.requires_grad_(False)
    store = FeatureStore(own_model)
    first = store(blocks[:2])
    again = store([blocks[1], blocks[2], blocks[1]])
    assert passes == [2, 1]
    assert again.keys() == {blocks[1].key, blocks[2].key}
    assert again[blocks[1].key] is not None
    torch.testing.assert_close(again[blocks[1].key].tokens_MD, first[blocks[1].key].tokens_MD)
    assert not again[blocks[1].key].tokens_MD.requires_grad


def test_a_tower_that_is_trained_runs_each_time(own_model, blocks, passes):
    store = FeatureStore(own_model)
    for _ in range(2):
        assert store(blocks[:2])[blocks[0].key].tokens_MD.requires_grad
    assert passes == [2, 2]
    assert store.n_bytes == 0


def test_one_trained_parameter_is_enough(own_model, blocks, passes):
    own_model.vision.requires_grad_(False)
    own_model.vision.patch_embed.proj.weight.requires_grad_(True)
    store = FeatureStore(own_model)
    store(blocks[:1]), store(blocks[:1])
    assert passes == [1, 1]


@pytest.mark.parametrize("how", ["step", "load"])
def test_new_weights_forget_what_the_old_ones_gave(own_model, blocks, passes, how):
    own_model.vision.requires_grad_(False)
    store = FeatureStore(own_model)
    before = store(blocks[:1])[blocks[0].key].tokens_MD
    if how == "step":
        with torch.no_grad():
            own_model.vision.patch_embed.proj.weight.mul_(2)
    else:
        own_model.hf.load_state_dict({k: 2 * v for k, v in own_model.hf.state_dict().items()})
    after = store(blocks[:1])[blocks[0].key].tokens_MD
    assert passes == [1, 1]
    assert not torch.allclose(before, after)


def test_the_model_is_left_alone(own_model, blocks):
    own_model.train()
    before = [p.requires_grad for p in own_model.parameters()]
    FeatureStore(own_model)(blocks[:1])
    assert own_model.training
    assert [p.requires_grad for p in own_model.parameters()] == before


def test_bytes_are_bounded_and_the_least_recently_used_leave(own_model, blocks, passes):
    own_model.vision.requires_grad_(False)
    one = bytes_of_one(own_model, blocks)
    passes.clear()
    store = FeatureStore(own_model, max_bytes=3 * one)
    store(blocks[:3])
    assert store.n_bytes == 3 * one
    store(blocks[:1])  # used again: the second is the oldest now
    store(blocks[3:4])
    assert store.n_bytes == 3 * one
    store([blocks[0], blocks[2], blocks[3]])
    assert passes == [3, 1]
    store(blocks[1:2])
    assert passes == [3, 1, 1]


def test_what_does_not_fit_is_given_all_the_same(own_model, blocks):
    own_model.vision.requires_grad_(False)
    store = FeatureStore(own_model, max_bytes=1)
    assert store(blocks).keys() == {block.key for block in blocks}
    assert store.n_bytes == 0


def test_what_is_kept_does_not_keep_its_neighbours(own_model, blocks):
    """The tower gives one tensor for all pictures of a pass; a view of it would hold them all in memory."""
    own_model.vision.requires_grad_(False)
    store = FeatureStore(own_model)
    store(blocks)
    for features in store(blocks).values():
        for tensor in (features.tokens_MD, *features.deepstack):
            assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_clear(own_model, blocks, passes):
    own_model.vision.requires_grad_(False)
    store = FeatureStore(own_model)
    store(blocks[:1])
    store.clear()
    assert store.n_bytes == 0
    store(blocks[:1])
    assert passes == [1, 1]
