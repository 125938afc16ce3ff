import math

import pytest
import torch
from torch import nn

from pixelreasoner.core.errors import NonFiniteError
from pixelreasoner.learn.optim import OptimConfig, check_weights, optimizer_step, rate
from pixelreasoner.learn.optimizers import new_optimizer


def test_the_rate_rises_over_the_warm_up_and_falls_to_the_floor_along_a_cosine():
    config = OptimConfig(lr=1.0, warmup=0.1, final=0.2)
    assert [rate(s, 100, config) for s in range(10)] == pytest.approx([(s + 1) / 10 for s in range(10)])
    assert rate(10, 100, config) == pytest.approx(1.0)
    assert rate(55, 100, config) == pytest.approx(0.2 + 0.8 * 0.5)  # half way down
    assert rate(99, 100, config) == pytest.approx(0.2 + 0.4 * (1 + math.cos(math.pi * 89 / 90)))


def test_decay_pulls_on_matrices_and_not_on_vectors():
    matrix, vector = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    config = OptimConfig(lr=0.1, warmup=0.0, final=1.0, weight_decay=0.5)
    optimizer = new_optimizer([matrix, vector], config)
    (matrix * 0).sum().backward()
    (vector * 0).sum().backward()
    optimizer_step(optimizer, step=5, total=10, config=config)
    assert torch.allclose(matrix, torch.full((2, 2), 1 - 0.1 * 0.5))
    assert torch.equal(vector, torch.ones(2))


def test_frozen_parameters_are_left_out():
    frozen = nn.Parameter(torch.ones(2, 2), requires_grad=False)
    optimizer = new_optimizer([frozen, nn.Parameter(torch.ones(3))], OptimConfig())
    assert [p.shape for g in optimizer.param_groups for p in g["params"]] == [torch.Size([3])]


def test_the_gradient_is_clipped_to_its_norm_and_the_norm_before_is_returned():
    p = nn.Parameter(torch.zeros(2))
    config = OptimConfig(lr=1.0, warmup=0.0, max_grad_norm=1.0)
    optimizer = torch.optim.SGD([p], lr=1.0)
    (p * torch.tensor([3.0, 4.0])).sum().backward()
    norm = optimizer_step(optimizer, step=1, total=1_000_000, config=config)
    assert norm == pytest.approx(5.0)
    assert torch.allclose(p.detach(), torch.tensor([-0.6, -0.8]), atol=1e-4)
    assert p.grad is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_moves_nothing(value):
    p = nn.Parameter(torch.ones(2))
    config = OptimConfig(lr=1.0)
    optimizer = new_optimizer([p], config)
    (p * value).sum().backward()
    with pytest.raises(NonFiniteError, match="the gradient norm is"):
        optimizer_step(optimizer, step=1, total=10, config=config)
    assert torch.equal(p, torch.ones(2))
    assert not optimizer.state


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_one_weight_that_is_not_finite_is_found(value):
    weights = [nn.Parameter(torch.ones(100, 100)), nn.Parameter(torch.ones(7))]
    check_weights(weights)
    weights[0].data[3, 4] = value
    with pytest.raises(NonFiniteError, match="the weights"):
        check_weights(weights)
