"""Reading ahead: in order, within the limit, in a thread that ends, with errors where they belong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from hyco.errors import DataError
from hyco.storage.memory import ReadAhead, TrajectoryMemory

NBYTES = 10
PATIENCE = 10.0  # seconds after which a test fails instead of waiting


class Reader:
    """Items are ten times their keys; notes which were read, when, and in which thread."""

    def __init__(self) -> None:
        self.read: list[int] = []
        self.threads: set[int] = set()
        self.began: dict[int, Future[None]] = {key: Future() for key in range(20)}

    def __call__(self, key: int) -> int:
        self.read.append(key)
        self.threads.add(threading.get_ident())
        self.began[key].set_result(None)
        if key == 13:
            raise DataError("sim_000013: damaged")
        return 10 * key


def ahead(memory: TrajectoryMemory[int], order: list[int], reader: Reader) -> ReadAhead[int, int]:
    return ReadAhead(memory, order, reader, lambda key: NBYTES)


def ask(memory: TrajectoryMemory[int], reader: ReadAhead[int, int], key: int) -> int:
    return memory.get(key, lambda: (reader.take(key), NBYTES))


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("room", [1, 2, 3, 99])
def test_every_item_is_read_once_in_the_order_of_first_use(room: int) -> None:
    memory, reader = TrajectoryMemory[int](room * NBYTES), Reader()
    with ahead(memory, [3, 1, 3, 2, 0], reader) as coming:
        for key in (3, 1, 2, 0):
            assert ask(memory, coming, key) == 10 * key
            coming.finish([key])
            assert memory.nbytes <= memory.limit_bytes
    assert reader.read == [3, 1, 2, 0]
    assert threading.get_ident() not in reader.threads


def test_the_next_is_read_while_this_one_is_used() -> None:
    memory, reader = TrajectoryMemory[int](2 * NBYTES), Reader()
    with ahead(memory, [0, 1, 2, 3], reader) as coming:
        ask(memory, coming, 0)
        reader.began[1].result(PATIENCE)  # nobody has asked for it
        coming.finish([0])
        reader.began[2].result(PATIENCE)


def test_nothing_is_read_for_which_there_is_no_room() -> None:
    memory, reader = TrajectoryMemory[int](2 * NBYTES), Reader()
    with ahead(memory, [0, 1, 2, 3], reader) as coming:
        ask(memory, coming, 0)
        ask(memory, coming, 1)
        assert not memory.reserve(1)
    assert reader.read == [0, 1]


def test_what_is_reserved_counts_and_is_given_back() -> None:
    memory, reader = TrajectoryMemory[int](4 * NBYTES), Reader()
    for key in (10, 11):
        memory.get(key, lambda key=key: (key, NBYTES))
    with ahead(memory, [0, 1], reader):
        memory.get(12, lambda: (12, NBYTES))  # two are held and two are to come, so that one has to go
        assert memory.nbytes == 2 * NBYTES
        assert 10 not in memory and 11 in memory
    assert memory.reserve(2 * NBYTES)


def test_what_is_held_is_not_read_and_what_was_not_announced_is() -> None:
    memory, reader = TrajectoryMemory[int](9 * NBYTES), Reader()
    memory.get(1, lambda: (111, NBYTES))
    with ahead(memory, [0, 1, 2], reader) as coming:
        assert ask(memory, coming, 1) == 111
        assert ask(memory, coming, 7) == 70
    assert 1 not in reader.read and 7 in reader.read


def test_what_was_used_last_makes_room_only_when_it_is_needed() -> None:
    memory, reader = TrajectoryMemory[int](3 * NBYTES), Reader()
    with ahead(memory, [0, 1, 2], reader) as coming:
        for key in (0, 1, 2):
            ask(memory, coming, key)
            coming.finish([key])
    assert all(key in memory for key in (0, 1, 2))


def test_what_was_read_but_not_asked_for_makes_room() -> None:
    memory: TrajectoryMemory[object] = TrajectoryMemory(1)
    with ReadAhead(memory, "ab", str.upper, lambda key: 1) as reader:
        assert "a" in reader._ahead
        reader.finish("a")
        assert list(reader._ahead) == ["b"]
        assert reader.take("b") == "B"
    assert memory._reserved == 0


def test_an_error_is_raised_where_the_item_is_asked_for() -> None:
    memory, reader = TrajectoryMemory[int](9 * NBYTES), Reader()
    with ahead(memory, [12, 13, 14], reader) as coming:
        reader.began[13].result(PATIENCE)
        assert ask(memory, coming, 12) == 120
        with pytest.raises(DataError, match="sim_000013"):
            ask(memory, coming, 13)
        assert ask(memory, coming, 14) == 140
    assert memory.reserve(7 * NBYTES)


def test_an_interrupt_leaves_nothing_behind() -> None:
    memory, reader = TrajectoryMemory[int](9 * NBYTES), Reader()
    with pytest.raises(KeyboardInterrupt), ahead(memory, [0, 13, 2], reader):
        raise KeyboardInterrupt
    assert memory.reserve(9 * NBYTES)
