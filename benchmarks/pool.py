"""The crew of `generation/processes.py` against joblib: `python benchmarks/pool.py`.

Both spread the same calls over two processes. Printed are the time on the wall of empty calls, which is that of
starting the processes; what calls of 0.1 s take more; how many results wait at most while they are used slowly; and
the processes that are left a second after the end. joblib starts its processes once, and without the caller's main
module.
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


def by_crew(function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    with processes.crew(SIZE):
        yield from processes.spread(function, calls, queued=QUEUED)


def by_joblib(function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    pool = Parallel(SIZE, return_as='generator', pre_dispatch=SIZE + QUEUED, batch_size=1)
    yield from pool(delayed(function)(*arguments) for arguments in calls)


def work(folder: Path, number: int, seconds: float) -> int:
    """Compute for some time, and leave a file for each call that is done."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        np.linalg.eigvalsh(np.eye(50))
    (folder / str(number)).touch()
    return number


def time_all(spread: Spread, seconds: float) -> float:
    """Return the time on the wall until all results are there, in s."""
    with TemporaryDirectory() as name:
        started = time.perf_counter()
        assert list(spread(work, ((Path(name), number, seconds) for number in range(N_CALLS)))) == list(range(N_CALLS))
        return time.perf_counter() - started


def most_waiting(spread: Spread) -> int:
    """Return how many results wait at most for a loop that takes longer than the calls."""
    waiting = 0
    with TemporaryDirectory() as name:
        for used, _ in enumerate(spread(work, ((Path(name), number, 0.01) for number in range(N_CALLS))), start=1):
            time.sleep(0.1)
            waiting = max(waiting, len(list(Path(name).iterdir())) - used)
    return waiting


def children() -> int:
    """Return the child processes of this one."""
    found = subprocess.run(['pgrep', '-P', str(os.getpid())], capture_output=True, text=True)
    return len(found.stdout.split()) - 1  # pgrep itself


def main() -> None:
    """Print a line for each way."""
    processes.PATIENCE_S = 0.0
    for name, spread in (('crew', by_crew), ('joblib', by_joblib)):
        start = time_all(spread, 0.0)
        busy = time_all(spread, 0.1) - (start if spread is by_crew else 0.0)
        waiting = most_waiting(spread)
        time.sleep(1.0)
        print(
            f'{name:7s} start {start:5.2f} s, {N_CALLS} calls of 0.1 s {busy:5.2f} s, '
            f'{waiting:2d} results wait, {children()} processes left',
            flush=True,
        )


if __name__ == '__main__':
    main()
