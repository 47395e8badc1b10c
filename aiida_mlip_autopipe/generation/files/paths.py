"""The paths of the user's structure files in the generation settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FILES_FIELD = 'files'


def rewrite_files(settings: Any, rewrite: Callable[[str], str]) -> Any:
    """Return generation settings in which every path in a ``files`` list is replaced, at any depth.

    Parameters
    ----------
    settings
        The dumped ``generation`` list, or a part of it.
    rewrite
        Called with each path; returns its replacement.
    """
    if isinstance(settings, dict):
        return {
            key: [rewrite(path) for path in value] if key == FILES_FIELD else rewrite_files(value, rewrite)
            for key, value in settings.items()
        }
    if isinstance(settings, list | tuple):
        return [rewrite_files(item, rewrite) for item in settings]
    return settings
