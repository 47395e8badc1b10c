"""Run calls in several processes, and return the results in the order of the calls.

This module uses the process pool of the standard library and orders its futures. joblib is not used, for two reasons.
Its generator does not wait until results are consumed: in a test with 40 small results, 28 to 35 were in memory at a
time, compared with 3 here. Its processes also stay alive for minutes after the last call. The calls take the same time
with both (`benchmarks/pool.py`).
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from threading import Thread, current_thread, main_thread
from types import FrameType
from typing import Any, TypeVar

T = TypeVar('T')

# A process takes one to two seconds to import packages, so none is started for work that takes less than this time.
PATIENCE_S = 1.0
# Interval between checks for Ctrl-C.
POLL_S = 0.2


@dataclass
class _Pool:
    """The processes of a `process_pool` block. They are started only when they are needed."""

    size: int
    since: float
    executor: ProcessPoolExecutor | None = None
    interrupted: bool = False

    @property
    def is_needed(self) -> bool:
        return self.size > 1 and (self.executor is not None or time.monotonic() - self.since >= PATIENCE_S)

    def submit(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> Future[T]:
        if self.executor is None:
            # Spawned, not forked: libraries with threads do not survive a fork.
            self.executor = ProcessPoolExecutor(self.size, get_context('spawn'), _prepare_process)
        return self.executor.submit(function, *arguments)

    def result(self, future: Future[T]) -> T:
        """Wait for a result.

        Raises
        ------
        KeyboardInterrupt
            If the user has pressed Ctrl-C.
        """
        while not self.interrupted:
            if wait([future], timeout=POLL_S).done:
                return future.result()
        raise KeyboardInterrupt


_pool: ContextVar[_Pool | None] = ContextVar('process_pool', default=None)


@contextmanager
def process_pool(size: int) -> Iterator[None]:
    """Provide up to ``size`` processes to `parallel_map` within the block, and stop them at its end.

    Once processes have been started, Ctrl-C takes effect when `parallel_map` waits for the next result. An exception in
    the middle of a call of the executor could leave one of its locks acquired, and the block would never end.
    """
    pool = _Pool(size, time.monotonic())
    token = _pool.set(pool)
    try:
        with _deferred_interrupts(pool):
            try:
                yield
            finally:
                if pool.executor is not None:
                    pool.executor.shutdown(cancel_futures=True)
    finally:
        _pool.reset(token)


@contextmanager
def _deferred_interrupts(pool: _Pool) -> Iterator[None]:
    """Let the first Ctrl-C set `pool.interrupted` if there are processes; a second one takes effect immediately."""
    if current_thread() is not main_thread():  # only the main thread is interrupted
        yield
        return

    def defer(number: int, frame: FrameType | None) -> None:
        if pool.executor is None or pool.interrupted:
            signal.default_int_handler(number, frame)
        pool.interrupted = True

    previous = signal.signal(signal.SIGINT, defer)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


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
            yield pool.result(waiting.popleft())
    while waiting:
        assert pool is not None
        yield pool.result(waiting.popleft())


def _prepare_process() -> None:
    # The parent process handles interrupts.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent ends. Otherwise, it would wait for calls forever if the parent was killed."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
