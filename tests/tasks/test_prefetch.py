import threading

import pytest

from pixelreasoner.tasks.prefetch import Prefetch


def test_items_come_in_order_and_each_is_made_once():
    made = []
    with Prefetch(lambda i: made.append(i) or i * i, range(3, 8)) as items:
        assert list(items) == [9, 16, 25, 36, 49]
    assert made == [3, 4, 5, 6, 7]


def test_one_item_is_made_ahead_in_another_thread():
    ahead = threading.Event()

    def make(i):
        if i == 1:
            ahead.set()
        return threading.current_thread()

    with Prefetch(make, range(3)) as items:
        first = next(iter(items))
        assert ahead.wait(5)  # item 1 is made although nobody asked for it yet
        assert first is not threading.current_thread()


def test_an_error_reaches_the_consumer():
    def make(i):
        raise KeyError(i)

    with Prefetch(make, range(2)) as items, pytest.raises(KeyError):
        next(iter(items))


def test_nothing_to_make():
    with Prefetch(lambda i: i, range(0)) as items:
        assert list(items) == []
