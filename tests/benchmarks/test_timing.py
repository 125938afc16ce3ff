"""Rules of measuring: everyone in turn, ratios round by round, and the parts of a step add up."""

import pytest
import torch

from benchmarks.profile import FAMILIES, OTHER, OUTSIDE, family, where_time_goes
from benchmarks.timing import MatrixProducts, Ratio, interleaved
from pixelreasoner.models.roofline import DecoderSize

CPU = torch.device("cpu")


def test_tasks_take_turns():
    order: list[str] = []
    tasks = {name: lambda name=name: order.append(name) for name in "abc"}
    taken = interleaved(tasks, rounds=3, seconds=60, device=CPU)
    assert "".join(order) == "abcabcabc"
    assert [len(times) for times in taken.values()] == [3, 3, 3]


def test_two_rounds_are_run_however_short_the_time():
    assert len(interleaved({"a": lambda: None}, rounds=9, seconds=0, device=CPU)["a"]) == 2


def test_a_ratio_has_the_range_of_its_rounds():
    assert Ratio.of([2.0, 6.0, 4.0], [1.0, 2.0, 2.0]) == Ratio(of_medians=2.0, least=2.0, most=3.0)


def test_products_are_those_of_one_layer_forward_and_backward():
    size = DecoderSize(layers=2, width=4, intermediate=8, heads=2, kv_heads=1, head_width=3, vocabulary=10)
    products = MatrixProducts(size, 5, device=CPU, dtype=torch.float32, repeats=2)
    with torch.profiler.profile() as recorded:
        products()
    count = {e.key: e.count for e in recorded.key_averages()}["aten::mm"]
    assert count == 2 * 7 * 3
    assert products.flops == 2 * 3 * 2 * 5 * (24 + 12 + 12 + 24 + 32 + 32 + 32)


def test_shares_of_a_step_add_up_to_one():
    x = torch.randn(64, 64)
    shares = where_time_goes(lambda: (x @ x).exp(), CPU)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert set(shares) == {*FAMILIES, OTHER, OUTSIDE}
    assert shares["matrix products"] > 0


def test_operators_belong_to_families():
    assert family("aten::addmm") == "matrix products"
    assert family("aten::_scaled_dot_product_flash_attention_for_cpu_backward") == "attention"
    assert family("aten::gelu") == OTHER
    assert family("aten::mul") == OTHER
