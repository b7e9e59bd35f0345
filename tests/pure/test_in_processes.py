"""Work in copies of this process: the same results in the same order, whatever becomes of the copies."""

from __future__ import annotations

import os
import signal

import pytest

from kaitoctl.commands import in_processes
from kaitoctl.commands.in_processes import mapped


@pytest.fixture(params=[1, 2, 3, 16])
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The machine has so many."""
    count = int(request.param)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(count)), raising=False)
    return count


@pytest.mark.parametrize("count", [0, 1, 2, 7, 1000])
def test_results_come_in_the_order_of_the_items(cores: int, count: int) -> None:
    assert list(mapped(lambda number: number * number, range(count))) == [n * n for n in range(count)]


def test_the_work_is_done_by_as_many_processes_as_there_are_cores(cores: int) -> None:
    first, *others = mapped(lambda _: os.getpid(), range(1000))
    assert first == os.getpid()
    assert len({*others}) == cores
    assert (os.getpid() in others) == (cores == 1)


def test_an_error_is_raised_by_the_first_item_that_has_one(cores: int) -> None:
    def work(number: int) -> int:
        if number >= 500:
            raise ValueError(number)
        return number

    found = []
    with pytest.raises(ValueError, match=r"^500$"):
        for result in mapped(work, range(1000)):
            found.append(result)
    assert found == [*range(500)]


def test_what_a_killed_copy_leaves_is_done_all_the_same(cores: int) -> None:
    here = os.getpid()

    def work(number: int) -> int:
        if number % 100 == 99 and os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    assert list(mapped(work, range(1000))) == [*range(1000)]


def test_no_copy_outlives_the_work(cores: int) -> None:
    results = mapped(lambda _: os.getpid(), range(1000))
    copies = {next(results) for _ in range(900)} - {os.getpid()}
    results.close()  # type: ignore[attr-defined]
    for copy in copies:
        with pytest.raises(ProcessLookupError):
            os.kill(copy, 0)


def test_where_nothing_can_be_forked_this_process_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    assert in_processes._cores() == 1
    assert {*mapped(lambda _: os.getpid(), range(1000))} == {os.getpid()}
