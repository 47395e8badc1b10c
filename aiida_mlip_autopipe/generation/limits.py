"""Limits on the time of long-running work and on the size of requested structures, and reports of progress.

A limit never affects which seed is made: work that reaches it ends with an error. Long loops call `check_time`. Kinds
call `check_size` before they build a structure, since a huge one could take hours or exhaust the memory.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError


class TimeLimitError(AutopipeError):
    """Work took longer than its time limit.

    Parameters
    ----------
    message
        The limit, and the setting that raises it.
    """

    def __init__(self, message: str):
        super().__init__(Code.TIME_LIMIT, message)

    def __reduce__(self) -> tuple[type, tuple[str]]:
        """Return the class and the argument with which another process recreates the error."""
        return type(self), (str(self),)


@dataclass(frozen=True)
class _Limit:
    deadline: float
    message: str


_limit: ContextVar[_Limit | None] = ContextVar('time_limit', default=None)
_max_atoms: ContextVar[int | None] = ContextVar('size_limit', default=None)
_progress: ContextVar[Callable[[str], None] | None] = ContextVar('progress', default=None)


@contextmanager
def time_limit(seconds: float | None, message: str) -> Iterator[None]:
    """Limit the time within the block. Of nested limits, the one that is reached first counts.

    Parameters
    ----------
    seconds
        The limit; None for no limit.
    message
        Message of the error.
    """
    outer = _limit.get()
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    token = _limit.set(outer if outer is not None and outer.deadline <= deadline else _Limit(deadline, message))
    try:
        yield
    finally:
        _limit.reset(token)


@contextmanager
def progress_shown(show: Callable[[str], None]) -> Iterator[None]:
    """Call a function with the progress of long-running work within the block, such as ``draw 3 of 21``."""
    token = _progress.set(show)
    try:
        yield
    finally:
        _progress.reset(token)


def show_progress(text: str) -> None:
    """Report the progress of long-running work to the function of `progress_shown`, if any, and check the time."""
    check_time()
    show = _progress.get()
    if show is not None:
        show(text)


def check_time() -> None:
    """End the work if its time is up.

    Raises
    ------
    TimeLimitError
        If the time limit of a `time_limit` block is reached.
    """
    limit = _limit.get()
    if limit is not None and time.monotonic() > limit.deadline:
        raise TimeLimitError(limit.message)


def time_left() -> tuple[float | None, str]:
    """Return the arguments of `time_limit` that pass the current limit on to another process."""
    limit = _limit.get()
    if limit is None or math.isinf(limit.deadline):
        return None, ''
    return max(0.0, limit.deadline - time.monotonic()), limit.message


@contextmanager
def size_limit(max_atoms: int) -> Iterator[None]:
    """Limit the number of atoms of a requested structure within the block."""
    token = _max_atoms.set(max_atoms)
    try:
        yield
    finally:
        _max_atoms.reset(token)


def check_size(n_atoms: float, request: str) -> None:
    """Refuse a structure that would exceed the limit of the `size_limit` block, if there is one.

    Parameters
    ----------
    n_atoms
        The number of atoms of the structure, or a lower bound.
    request
        What requests them, such as ``supercell [40, 40, 40]``.

    Raises
    ------
    AutopipeError
        If the structure has too many atoms.
    """
    limit = _max_atoms.get()
    if limit is not None and n_atoms > limit:
        raise AutopipeError(
            Code.TOO_MANY_ATOMS,
            f'{request}: {n_atoms:.0f} atoms exceed validation.max_atoms ({limit}); request a smaller structure, '
            'or raise validation.max_atoms',
        )
