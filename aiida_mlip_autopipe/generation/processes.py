"""Run calls in several processes, with results in the order of the calls.

This module orders the futures of the standard library's pool. joblib is not used: its generator does not wait until
results are consumed, so 28 to 35 of 40 small results were in memory at a time, compared with 3 here, and its processes
live for minutes after the last call. The calls themselves take equally long (`benchmarks/pool.py`).
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, TypeVar

T = TypeVar('T')

# A process takes a second or two to import what it needs: what is done before then starts none.
PATIENCE_S = 1.0


@dataclass
class _Crew:
    """The processes of a `crew` block; none is started before one is needed."""

    size: int
    since: float
    pool: ProcessPoolExecutor | None = None

    @property
    def is_wanted(self) -> bool:
        return self.size > 1 and (self.pool is not None or time.monotonic() - self.since >= PATIENCE_S)

    def submit(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> Future[T]:
        if self.pool is None:
            # Spawned, not forked: libraries that run threads do not survive a fork.
            self.pool = ProcessPoolExecutor(self.size, get_context('spawn'), _leave_interrupts_to_the_parent)
        return self.pool.submit(function, *arguments)


_crew: ContextVar[_Crew | None] = ContextVar('crew', default=None)


@contextmanager
def crew(size: int) -> Iterator[None]:
    """Within the block `spread` uses up to so many processes; they end with it."""
    mine = _Crew(size, time.monotonic())
    token = _crew.set(mine)
    try:
        yield
    finally:
        _crew.reset(token)
        if mine.pool is not None:
            mine.pool.shutdown(cancel_futures=True)


def spread(function: Callable[..., T], calls: Iterable[tuple[Any, ...]], *, queued: int = 0) -> Iterator[T]:
    """Yield the results of the calls in their order, from the processes of the `crew` block or, without, from here.

    Arguments are taken only as processes become free; calls that run and results that wait are never more than there
    are processes, and those queued.

    Parameters
    ----------
    function
        A function of a module, whose arguments and result can be pickled.
    calls
        The arguments of each call.
    queued
        Calls that may wait for a process, so that none is idle while a result is used.
    """
    mine = _crew.get()
    waiting: deque[Future[T]] = deque()
    for arguments in calls:
        if mine is None or not mine.is_wanted:
            yield function(*arguments)
            continue
        waiting.append(mine.submit(function, arguments))
        if len(waiting) >= mine.size + queued:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
