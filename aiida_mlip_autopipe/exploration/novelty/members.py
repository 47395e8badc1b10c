"""The members of a committee, and their disagreement on a structure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.exploration.phase_space import Evaluate


class Members:
    """Evaluates structures with the members of a committee other than the first one, whose results are known.

    Parameters
    ----------
    evaluate
        A function for each of these members.
    """

    def __init__(self, evaluate: Sequence[Evaluate]):
        self._evaluate = tuple(evaluate)
        self._last: tuple[np.ndarray, np.ndarray, list[Evaluation]] | None = None

    def evaluate(self, positions: np.ndarray, cell: np.ndarray) -> list[Evaluation]:
        """Return the evaluations of a structure. Those of the last structure are kept.

        The arrays must not be changed later.
        """
        if self._last is None or self._last[0] is not positions or self._last[1] is not cell:
            found = [evaluate(positions, cell) for evaluate in self._evaluate]
            self._last = positions, cell, found
        return self._last[2]


def force_deviation(forces: np.ndarray) -> float:
    r"""Return the maximum deviation of the forces of a committee, in eV/Å.

    :math:`\max_i \sqrt{\langle|F_i - \langle F_i\rangle|^2\rangle}`, where the averages are over the members (Zhang et
    al., Phys. Rev. Mater. 3, 023804 (2019)).

    Parameters
    ----------
    forces
        Forces of the members in eV/Å, (m, n, 3).
    """
    squares = ((forces - forces.mean(axis=0)) ** 2).sum(axis=2)
    return float(np.sqrt(squares.mean(axis=0).max()))
