"""Environment records of this interpreter, without a self-test."""

from __future__ import annotations

from typing import Any

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.jobs.environment import Environment, read_environment
from aiida_mlip_autopipe.jobs.loading import make_loader


def environment_of(calculator: dict[str, Any] | None = None, device: str = 'cpu') -> Environment:
    """Return the record that a job with this calculator finds here, or that of EMT if it does not exist."""
    try:
        return read_environment(make_loader(calculator or {'kind': 'emt'}), device)
    except AutopipeError:
        return read_environment(make_loader({'kind': 'emt'}), device)
