"""Reasons to end early: signals, a stop file and the wall-time limit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Literal

Reason = Literal['stopped', 'out_of_walltime']

SIGNALS = (signal.SIGTERM, signal.SIGINT)
WATCH_S = 0.5


class Interrupted(BaseException):
    """Raised to end immediately when nothing would be lost, for example while the calculator is being loaded.

    Like `KeyboardInterrupt`, it must not be caught as an error.
    """


class TimeLimitReached(BaseException):
    """Raised in a calculation that takes longer than its time limit. Like `Interrupted`, it is not an error."""


def process_start() -> float:
    """Return the time at which this process started, before its imports, on the clock of `time.monotonic`."""
    try:
        ticks = int(Path('/proc/self/stat').read_text().rpartition(')')[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf('SC_CLK_TCK')
    except (OSError, AttributeError, ValueError):
        age = time.process_time()
    return time.monotonic() - max(age, 0.0)


class Interruptions:
    """Checks for a reason to end early.

    Parameters
    ----------
    stop_file
        The run ends when this file exists.
    max_wallclock_s
        Wall time of the job in seconds; None for no limit.
    margin_s
        Seconds before the wall-time limit at which the run ends. The default is a tenth of the wall time, but at
        most 60 s.
    """

    def __init__(self, stop_file: Path, max_wallclock_s: float | None = None, margin_s: float | None = None):
        self.stop_file = stop_file
        self.message = ''
        self.reason: Reason | None = None
        self._signal: int | None = None
        self._raise = False
        self._next_file_check = 0.0
        self._longest_step = 0.0
        self._last = time.monotonic()
        self.set_limit(max_wallclock_s, margin_s)

    def set_limit(self, max_wallclock_s: float | None, margin_s: float | None) -> None:
        """Set the wall time, measured from the start of the process."""
        self._end = None
        if max_wallclock_s is not None:
            margin = min(60.0, 0.1 * max_wallclock_s) if margin_s is None else margin_s
            self._end = process_start() + max_wallclock_s - margin

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Record signals, so that they do not end the process."""
        before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Raise `Interrupted` on a signal, and immediately if a signal was received earlier."""
        self._raise = True
        try:
            if self._signal is not None:
                raise Interrupted
            yield
        finally:
            self._raise = False

    @contextmanager
    def watching(self, time_limit_s: float | None = None) -> Iterator[None]:
        """Raise `Interrupted` in code that cannot check for reasons to end, and store the reason in `reason`.

        Parameters
        ----------
        time_limit_s
            Seconds after which `TimeLimitReached` is raised in this code; None for no limit.
        """
        end = None if time_limit_s is None else time.monotonic() + time_limit_s

        def check(*_: Any) -> None:
            self.reason = self.check()
            if self.reason is not None:
                raise Interrupted
            if end is not None and time.monotonic() > end:
                raise TimeLimitReached

        check()
        before = signal.signal(signal.SIGALRM, check)
        timer = signal.setitimer(signal.ITIMER_REAL, WATCH_S, WATCH_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            signal.setitimer(signal.ITIMER_REAL, *timer)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
        if self._raise:
            raise Interrupted

    def check(self, next_step_s: float = 0.0) -> Reason | None:
        """Return the reason to end now, or None. This is cheap enough to call at every step.

        Parameters
        ----------
        next_step_s
            Expected duration of the next step in seconds, if it is longer than the steps so far.
        """
        now = time.monotonic()
        self._longest_step = max(self._longest_step, now - self._last)
        self._last = now
        if self._signal is not None:
            self.message = f'stopped by {signal.Signals(self._signal).name}'
            return 'stopped'
        if self._end is not None and now + max(self._longest_step, next_step_s) > self._end:
            self.message = 'stopped shortly before the wall-time limit'
            return 'out_of_walltime'
        if now >= self._next_file_check:
            self._next_file_check = now + 0.5
            if self.stop_file.exists():
                self.message = f'stopped by the file {self.stop_file.name!r}'
                return 'stopped'
        return None

    def restart_stopwatch(self) -> None:
        """Start timing the next step now."""
        self._last = time.monotonic()
