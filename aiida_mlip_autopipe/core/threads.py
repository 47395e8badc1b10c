"""Numerical libraries with one thread, so that results do not depend on the number of threads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS and OpenMP to one thread within a block of code, or within a function if used as a decorator.

    With several threads, BLAS adds numbers in a different order, and the last digits of the sums differ. If these
    digits decide between two frames, a different frame is chosen.
    """
    with _controller(len(sys.modules)).limit(limits=1):
        yield


@lru_cache(maxsize=1)
def _controller(n_modules: int) -> ThreadpoolController:
    """Return the controller of the loaded libraries. The search takes milliseconds, so repeat it only after imports."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
