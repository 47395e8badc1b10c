"""Run calls in several processes, and return the results in the order of the calls.

This module uses the process pool of the standard library and orders its futures. joblib is not used, for two reasons.
Its generator does not wait until results are consumed: in a test with 40 small results, 28 to 35 were in memory at a
time, compared with 3 here. Its processes also stay alive for minutes after the last call. The calls take equally long
with both (`benchmarks/pool.py`).
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

# A process takes one to two seconds to import packages, so none is started for work that takes less than this time.
PATIENCE_S = 1.0


@dataclass
class _Pool:
    """The processes of a `process_pool` block. They are started only when they are needed."""

    size: int
    since: float
    executor: ProcessPoolExecutor | None = None

    @property
    def is_needed(self) -> bool:
        return self.size > 1 and (self.executor is not None or time.monotonic() - self.since >= PATIENCE_S)

    def submit(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> Future[T]:
        if self.executor is None:
            # Spawned, not forked: libraries with threads do not survive a fork.
            self.executor = ProcessPoolExecutor(self.size, get_context('spawn'), _ignore_interrupts)
        return self.executor.submit(function, *arguments)


_pool: ContextVar[_Pool | None] = ContextVar('process_pool', default=None)


@contextmanager
def process_pool(size: int) -> Iterator[None]:
    """Provide up to ``size`` processes to `parallel_map` within the block, and stop them at its end."""
    pool = _Pool(size, time.monotonic())
    token = _pool.set(pool)
    try:
        yield
    finally:
        _pool.reset(token)
        if pool.executor is not None:
            pool.executor.shutdown(cancel_futures=True)


def parallel_map(function: Callable[..., T], calls: Iterable[tuple[Any, ...]], *, queued: int = 0) -> Iterator[T]:
    """Yield the results of the calls in order, from the processes of the `process_pool` block or from this one.

    The next arguments are taken only when a process becomes free. The number of running calls and waiting results never
    exceeds the number of processes plus ``queued``.

    Parameters
    ----------
    function
        A function at module level. Its arguments and result must be picklable.
    calls
        The arguments of each call.
    queued
        Number of calls that may wait for a process, so that no process is idle while a result is used.
    """
    pool = _pool.get()
    waiting: deque[Future[T]] = deque()
    for arguments in calls:
        if pool is None or not pool.is_needed:
            yield function(*arguments)
            continue
        waiting.append(pool.submit(function, arguments))
        if len(waiting) >= pool.size + queued:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _ignore_interrupts() -> None:
    # The parent process handles them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
