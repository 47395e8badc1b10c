"""Exploration: molecular dynamics, Monte Carlo, relaxation or evaluation of a seed, as a job runs them."""

from __future__ import annotations

from aiida_mlip_autopipe.calculators import (
    CALCULATORS,
    CalculatorRefusedError,
    CalculatorSettings,
    resolve_model,
)
from aiida_mlip_autopipe.exploration.settings.dynamics import ExplorationSettings
from aiida_mlip_autopipe.exploration.settings.kinds import DEFAULT_KIND, KINDS, AnyExploration, read_exploration
from aiida_mlip_autopipe.jobs.version import RUNNER_VERSION

__all__ = [
    'CALCULATORS',
    'DEFAULT_KIND',
    'KINDS',
    'RUNNER_VERSION',
    'AnyExploration',
    'CalculatorRefusedError',
    'CalculatorSettings',
    'ExplorationSettings',
    'read_exploration',
    'resolve_model',
]
