"""A short relaxation of a seed in a fixed cell."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.calculators.evaluation import EvaluatingCalculator, Evaluator
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.exploration.settings.dynamics import RelaxationSettings


def relax(seed: Atoms, evaluator: Evaluator, settings: RelaxationSettings) -> tuple[np.ndarray, str]:
    """Relax the atoms with the calculator of the run. Fixed atoms do not move.

    Returns
    -------
    positions
        Positions in Å, (n, 3).
    message
        The number of steps, and whether the relaxation converged.
    """
    from ase.optimize import FIRE

    atoms = seed.copy()
    atoms.calc = EvaluatingCalculator(evaluator)
    optimizer = FIRE(atoms, logfile=None)
    converged = optimizer.run(fmax=settings.force_eV_per_A, steps=settings.max_steps)
    positions: np.ndarray = atoms.positions.copy()
    outcome = 'converged' if converged else 'did not converge'
    return positions, f'relaxation {outcome} in {counted(optimizer.nsteps, "step")}'
