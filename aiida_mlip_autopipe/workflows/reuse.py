"""Restart points: results of equal inputs are taken from AiiDA's cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aiida_mlip_autopipe.aiida_internals import use_cache


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
    with use_cache(entry_point):
        yield
