import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event

import pytest

from pixelreasoner.core.prefetch import prefetch


def test_results_come_in_the_order_of_the_items():
    later = Event()

    def square(x: int) -> int:
        if x == 0:
            assert later.wait(5)  # the first is done last
        later.set()
        return x * x

    with ThreadPoolExecutor(4) as pool:
        assert list(prefetch(pool, square, range(20), ahead=4)) == [x * x for x in range(20)]


def test_no_more_than_ahead_items_are_drawn_before_a_result_is_taken():
    drawn = []

    def items():
        for i in range(10):
            drawn.append(i)
            yield i

    with ThreadPoolExecutor(2) as pool:
        results = prefetch(pool, str, items(), ahead=3)
        assert next(results) == "0"
        assert drawn == [0, 1, 2]
        assert next(results) == "1"
        assert drawn == [0, 1, 2, 3]
        results.close()


def test_an_error_is_raised_where_its_result_is_due():
    with ThreadPoolExecutor(2) as pool:
        results = prefetch(pool, lambda x: 6 // x, [3, 2, 0, 1], ahead=4)
        assert [next(results), next(results)] == [2, 3]
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_with_two_ahead_one_is_made_while_one_is_used():
    made, second = [], threading.Event()

    def make(i: int) -> int:
        made.append(i)
        if i == 1:
            second.set()
        return i

    with ThreadPoolExecutor(1) as pool, closing(prefetch(pool, make, range(9), ahead=2)) as results:
        assert next(results) == 0
        assert second.wait(5)  # item 1 is made although nobody asked for it yet
        assert made == [0, 1]


def test_nothing_to_make():
    with ThreadPoolExecutor(1) as pool:
        assert list(prefetch(pool, str, (), ahead=2)) == []
