"""Reading ahead: a thread makes the next items while the caller works on the last one."""

from collections.abc import Generator
from contextlib import closing, suppress
from typing import TypeVar

Item = TypeVar("Item")


def ahead(source: Generator[Item], depth: int) -> Generator[Item]:
    """The items of `source`, made by a thread of its own, at most `depth` of them in waiting.

    What `source` raises comes out here, after the items before it. When this is closed, `source` is
    closed by its thread as soon as it gives its next item or fails; nobody waits for that, since a
    silent line may take half a minute.
    """
    from queue import Empty, Queue  # with the threads: looking commands come by here
    from threading import Event, Thread

    waiting: Queue[tuple[Item | None, BaseException | None]] = Queue(depth)
    closed = Event()

    def read() -> None:
        problem: BaseException = StopIteration()
        try:
            with closing(source):
                for item in source:
                    waiting.put((item, None))
                    if closed.is_set():
                        return
        except BaseException as error:  # noqa: BLE001 (raised where the items are used)
            problem = error
        waiting.put((None, problem))

    Thread(target=read, daemon=True).start()
    try:
        while True:
            item, problem = waiting.get()
            if isinstance(problem, StopIteration):
                return
            if problem is not None:
                raise problem
            yield item  # type: ignore[misc]
    finally:
        closed.set()
        with suppress(Empty):  # the thread may be waiting for room; it puts at most one item more
            while True:
                waiting.get_nowait()
