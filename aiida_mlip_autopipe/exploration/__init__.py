"""Exploration: molecular dynamics and Monte Carlo from a seed, as a job runs them."""

from __future__ import annotations

from aiida_mlip_autopipe.calculators import (
    CALCULATORS,
    CalculatorRefusedError,
    CalculatorSettings,
    resolve_model,
)
from aiida_mlip_autopipe.exploration.settings import ExplorationSettings
from aiida_mlip_autopipe.jobs.version import EVALUATION_VERSION, RUNNER_VERSION

__all__ = [
    'CALCULATORS',
    'EVALUATION_VERSION',
    'RUNNER_VERSION',
    'CalculatorRefusedError',
    'CalculatorSettings',
    'ExplorationSettings',
    'resolve_model',
]
