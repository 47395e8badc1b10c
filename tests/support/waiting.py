"""Waits with a time limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar('Answer')


def wait_for(condition: Callable[[], Answer], seconds: float, what: str) -> Answer:
    """Wait until a condition returns a true value, and return it; fail after the time limit."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f'{what}: not within {seconds} s'
        time.sleep(0.2)
    return answer
