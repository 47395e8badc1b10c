"""Novelty measured by the disagreement of the forces of a committee."""

from __future__ import annotations

import numpy as np

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.exploration.novelty.bias import unbiased
from aiida_mlip_autopipe.exploration.novelty.members import Members, force_deviation
from aiida_mlip_autopipe.exploration.phase_space import PhaseSpace


class Disagreement:
    """The maximum deviation of the forces.

    Parameters
    ----------
    members
        The members of the committee other than the first one.
    """

    name = 'force_deviation_eV_A'
    unit = 'eV/Å'

    def __init__(self, members: Members):
        self._members = members

    def of(self, system: PhaseSpace, evaluation: Evaluation) -> float:
        """Return the maximum deviation of the forces in eV/Å."""
        others = self._members.evaluate(system.positions, system.cell)
        return force_deviation(np.array([unbiased(evaluation).forces, *(other.forces for other in others)]))

    def learn(self) -> None:
        """Do nothing, because the disagreement does not depend on earlier frames."""

    def dump(self) -> dict[str, np.ndarray]:
        """Return no arrays, because the disagreement has no state."""
        return {}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Do nothing."""
