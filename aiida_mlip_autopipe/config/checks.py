"""What is wrong between sections of a config, each of which is right by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida_mlip_autopipe.errors import Fault


def find_conflicts(sections: Mapping[str, Any]) -> list[Fault]:
    """Return the faults between sections.

    Parameters
    ----------
    sections
        The validated sections of a config; those with faults of their own are missing.
    """
    return []
