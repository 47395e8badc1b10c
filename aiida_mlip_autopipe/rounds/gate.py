"""Conditions that a new model must meet before it explores: otherwise, the previous model is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.rounds.dimers import Hole
from aiida_mlip_autopipe.rounds.held_out import Estimate

MAX_DRIFT_EV_A = 0.02
"""Bound on the force difference between the new and the starting model for chemical systems that were not trained on,
eV/Å, if the training replays other chemical systems."""

Condition = Literal['finite_results', 'smaller_error', 'stable_dynamics', 'repulsion', 'other_chemistries']


@dataclass(frozen=True)
class Measured:
    """What was measured for a new model.

    Attributes
    ----------
    gain
        Decrease of the force error on the test set, relative to the previous model and resampled together with it.
    n_runs, n_survived
        Number of hot runs on seeds of the test set, and of those that no guard stopped.
    n_survived_before
        Number of the same runs that survived with the previous model.
    holes
        Holes of the new model that the starting model does not have.
    drift_eV_A
        Root mean square of the force differences from the starting model for other chemical systems, eV/Å; None if it
        was not measured.
    n_test_frames, n_failed
        Number of test frames, and of those for which the new model gives no finite energy or forces.
    """

    gain: Estimate
    n_runs: int
    n_survived: int
    n_survived_before: int
    holes: Sequence[Hole] = field(default=())
    drift_eV_A: float | None = None
    n_test_frames: int = 0
    n_failed: int = 0


@dataclass(frozen=True)
class UnmetCondition:
    """A condition that a new model does not meet, and a sentence with the numbers."""

    condition: Condition
    message: str


def find_failures(measured: Measured, max_drift_eV_A: float | None = MAX_DRIFT_EV_A) -> list[UnmetCondition]:
    """Return the conditions that a new model does not meet; empty if it meets all.

    Parameters
    ----------
    measured
        What was measured.
    max_drift_eV_A
        Bound on the drift, eV/Å; None if it only needs to be finite.
    """
    found: list[UnmetCondition] = []

    def add(condition: Condition, message: str) -> None:
        found.append(UnmetCondition(condition, message))

    if measured.n_failed:
        add(
            'finite_results',
            f'it gives no finite energy or forces for {measured.n_failed} of '
            f'{counted(measured.n_test_frames, "test frame")}',
        )
    # Comparisons with NaN are false, and a model that gives NaN must not pass.
    elif not measured.gain.value > 0:
        add(
            'smaller_error',
            'its force error on the test set is not smaller than that of the previous model '
            f'(change: {-measured.gain.value:+.1%})',
        )
    lost = measured.n_survived_before - measured.n_survived
    if lost > 0:
        add(
            'stable_dynamics',
            f'{measured.n_survived} of {counted(measured.n_runs, "hot run")} survived, {lost} fewer than with the '
            'previous model',
        )
    for one in measured.holes:
        add(
            'repulsion',
            f'the pair {one.pair} has a hole of {one.depth_eV:.2f} eV in its repulsion; that of the starting model is '
            f'{one.starting_depth_eV:.2f} eV deep',
        )
    drift = measured.drift_eV_A
    if drift is not None and not math.isfinite(drift):
        add('other_chemistries', 'its forces for other chemical systems are not finite')
    elif drift is not None and max_drift_eV_A is not None and drift > max_drift_eV_A:
        add(
            'other_chemistries',
            f'its forces for other chemical systems differ from those of the starting model by {drift:.3f} eV/Å; at '
            f'most {max_drift_eV_A:g} eV/Å is allowed',
        )
    return found
