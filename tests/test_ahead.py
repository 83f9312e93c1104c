"""Reading ahead: the same items, the same error, never too many, and an end when nobody reads."""

import threading
import time
from collections.abc import Callable, Generator

import pytest

from ccmirror_py.ahead import ahead


def counting(made: list[int], count: int = 100, end: BaseException | None = None) -> Generator[int]:
    """`made` tells what was asked for, and -1 when it was closed."""
    try:
        for number in range(count):
            made.append(number)
            yield number
        if end:
            raise end
    finally:
        made.append(-1)


def comes(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


@pytest.mark.parametrize("depth", [1, 2, 7, 1000])
def test_items_come_in_their_order(depth: int) -> None:
    assert list(ahead(counting([]), depth)) == list(range(100))
    assert list(ahead(counting([], 0), depth)) == []


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), StopAsyncIteration()])
def test_an_error_comes_after_the_items_before_it(error: BaseException) -> None:
    found: list[int] = []

    with pytest.raises(type(error)) as caught:
        any(map(found.append, ahead(counting([], 5, error), 2)))
    assert caught.value is error
    assert found == [0, 1, 2, 3, 4]


def test_no_more_is_made_than_there_is_room_for() -> None:
    made: list[int] = []
    reading = ahead(counting(made), 3)
    next(reading)
    assert comes(lambda: len(made) == 5)  # one taken, three in waiting, one in hand
    time.sleep(0.05)
    assert made == [0, 1, 2, 3, 4]
    reading.close()


def test_it_works_while_the_caller_does() -> None:
    made: list[int] = []
    reading = ahead(counting(made), 2)
    next(reading)
    assert comes(lambda: made[-1] > 0)
    reading.close()


@pytest.mark.parametrize("taken", [1, 50, 100])
def test_closing_ends_the_source_and_its_thread(taken: int) -> None:
    made: list[int] = []
    before = set(threading.enumerate())
    inner = ahead(counting(made), 3)
    outer = ahead(inner, 3)
    for _ in range(taken):
        next(outer)
    outer.close()
    assert comes(lambda: made[-1] == -1)
    assert comes(lambda: set(threading.enumerate()) <= before)


def test_nobody_waits_for_a_source_that_is_silent() -> None:
    silent = threading.Event()

    def source() -> Generator[int]:
        yield 1
        silent.wait(20)

    reading = ahead(source(), 2)
    next(reading)
    begun = time.monotonic()
    reading.close()
    assert time.monotonic() - begun < 5
    silent.set()
