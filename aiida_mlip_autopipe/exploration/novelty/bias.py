r"""A bias towards disagreement: dynamics on :math:`E - \tau\sigma`.

After van der Oord et al., npj Comput. Mater. 9, 168 (2023), with a constant strength :math:`\tau`, so that the biased
forces are exactly the negative gradient of the biased energy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.exploration.novelty.members import Members
from aiida_mlip_autopipe.exploration.phase_space import Evaluate

# The standard deviation has a cusp where all members agree, as at the start of a run. It is smoothed over this energy
# times the square root of the number of atoms, which is how the energies of independent atoms add up.
SMOOTHING_eV = 0.005


@dataclass(frozen=True, eq=False)
class BiasedEvaluation(Evaluation):
    """The biased energy, forces and stress, with the results without bias.

    Attributes
    ----------
    unbiased
        The results of the calculator.
    """

    unbiased: Evaluation


def unbiased(evaluation: Evaluation) -> Evaluation:
    """Return the results without bias."""
    return evaluation.unbiased if isinstance(evaluation, BiasedEvaluation) else evaluation


class Bias:
    r"""Biases the evaluations of a calculator.

    The energies of the members differ by a constant for each composition, which is removed: the energies are those
    relative to the structure at the start of the run. :math:`\sigma = \sqrt{s^2 + \epsilon^2}`, where :math:`s` is the
    standard deviation of these energies, and :math:`\epsilon` smooths its cusp. If the constants were not removed, they
    would determine the gradient :math:`\nabla\sigma = \langle(\Delta E_k - \langle\Delta E_k\rangle)\,\nabla
    E_k\rangle/\sigma`, where :math:`\Delta E_k` is the relative energy of member k.

    Parameters
    ----------
    evaluate
        Evaluates a structure with the calculator.
    members
        The members of the committee other than the first one, which is the calculator.
    strength
        The strength :math:`\tau`.
    n_atoms
        Number of atoms.
    """

    def __init__(self, evaluate: Evaluate, members: Members, strength: float, n_atoms: int):
        self._evaluate = evaluate
        self._members = members
        self._strength = strength
        self._smoothing = SMOOTHING_eV * np.sqrt(n_atoms)
        self.offsets: np.ndarray | None = None

    def evaluate(self, positions: np.ndarray, cell: np.ndarray) -> BiasedEvaluation:
        """Return the biased evaluation of a structure. The first structure determines the offsets."""
        first = self._evaluate(positions, cell)
        every = [first, *self._members.evaluate(positions, cell)]
        energies = np.array([one.energy for one in every])
        if self.offsets is None:
            self.offsets = energies - first.energy
        relative = energies - self.offsets
        # The derivatives of σ with respect to the energies. Their sum is zero.
        deviations = relative - relative.mean()
        spread = float(np.sqrt((deviations**2).mean() + self._smoothing**2))
        factors = -self._strength * deviations / (len(every) * spread)
        return BiasedEvaluation(
            first.energy - self._strength * spread,
            first.forces + np.tensordot(factors, np.array([one.forces for one in every]), 1),
            first.stress + factors @ np.array([one.stress for one in every]),
            first,
        )

    def dump(self, evaluation: Evaluation) -> dict[str, Any]:
        """Return the offsets, and the unbiased results of an evaluation, as JSON."""
        plain = unbiased(evaluation)
        assert self.offsets is not None
        return {
            'offsets_eV': self.offsets.tolist(),
            'energy': plain.energy,
            'forces': plain.forces.tolist(),
            'stress': plain.stress.tolist(),
        }

    def restore(self, state: dict[str, Any], biased: Evaluation) -> BiasedEvaluation:
        """Restore the offsets from `dump`, and return the biased evaluation with its unbiased results."""
        self.offsets = np.array(state['offsets_eV'])
        plain = Evaluation(state['energy'], np.array(state['forces']), np.array(state['stress']))
        return BiasedEvaluation(biased.energy, biased.forces, biased.stress, plain)
