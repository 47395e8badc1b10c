"""Comparison of the process pool in `generation/processes.py` with joblib: `python benchmarks/pool.py`.

Both distribute the same calls over two processes. The output is the wall time of empty calls, which is the time to
start the processes, the additional wall time of calls of 0.1 s, the largest number of waiting results if the consumer
is slow, and the number of processes that are left one second after the end. joblib starts its processes only once, and
without the main module of the caller.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from aiida_mlip_autopipe.generation import processes

SIZE, QUEUED = 2, 2
N_CALLS = 40

Spread = Callable[[Callable[..., Any], Iterable[tuple[Any, ...]]], Iterator[Any]]


def by_process_pool(function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    with processes.process_pool(SIZE):
        yield from processes.parallel_map(function, calls, queued=QUEUED)


def by_joblib(function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    pool = Parallel(SIZE, return_as='generator', pre_dispatch=SIZE + QUEUED, batch_size=1)
    yield from pool(delayed(function)(*arguments) for arguments in calls)


def work(folder: Path, number: int, seconds: float) -> int:
    """Compute for some time, and create a file when the call is finished."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        np.linalg.eigvalsh(np.eye(50))
    (folder / str(number)).touch()
    return number


def time_all(spread: Spread, seconds: float) -> float:
    """Return the wall time until all results are available, in s."""
    with TemporaryDirectory() as name:
        started = time.perf_counter()
        assert list(spread(work, ((Path(name), number, seconds) for number in range(N_CALLS)))) == list(range(N_CALLS))
        return time.perf_counter() - started


def largest_number_waiting(spread: Spread) -> int:
    """Return the largest number of waiting results for a loop that is slower than the calls."""
    waiting = 0
    with TemporaryDirectory() as name:
        for used, _ in enumerate(spread(work, ((Path(name), number, 0.01) for number in range(N_CALLS))), start=1):
            time.sleep(0.1)
            waiting = max(waiting, len(list(Path(name).iterdir())) - used)
    return waiting


def children() -> int:
    """Return the number of child processes of this process."""
    found = subprocess.run(['pgrep', '-P', str(os.getpid())], capture_output=True, text=True)
    return len(found.stdout.split()) - 1  # without pgrep itself


def main() -> None:
    """Print one line for each pool."""
    processes.PATIENCE_S = 0.0
    for name, spread in (('pool', by_process_pool), ('joblib', by_joblib)):
        start = time_all(spread, 0.0)
        busy = time_all(spread, 0.1) - (start if spread is by_process_pool else 0.0)
        waiting = largest_number_waiting(spread)
        time.sleep(1.0)
        print(
            f'{name:7s} start: {start:5.2f} s, {N_CALLS} calls of 0.1 s: {busy:5.2f} s, '
            f'maximum number of waiting results: {waiting:2d}, processes left: {children()}',
            flush=True,
        )


if __name__ == '__main__':
    main()
