"""Restart points: results of equal inputs are taken from AiiDA's cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aiida.manage.caching import enable_caching


@contextmanager
def reuse_finished(entry_point: str, enabled: bool) -> Iterator[None]:
    """Let a calculation of the package hit the cache within the block, whatever the profile's configuration says.

    Parameters
    ----------
    entry_point
        Name of the calculation, as ``mlip_autopipe.explore``.
    enabled
        Whether to do anything.
    """
    if not enabled:
        yield
        return
    # AiiDA's context manager does not clean up when the block raises, so it is closed by hand.
    context = enable_caching(identifier=f'aiida.calculations:{entry_point}')
    context.__enter__()
    try:
        yield
    finally:
        context.__exit__(None, None, None)
