"""What all ways of choosing labels share in a repeat: seeds, explorations, a starting model and a test set."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from ase import Atoms
from linear_training import LinearTraining
from science import Settings, explore, frames_of, label, predict
from systems import System

from aiida_mlip_autopipe.assessment.deviations import FORCE, estimate_errors, measure_errors
from aiida_mlip_autopipe.assessment.predictions import Predictions
from aiida_mlip_autopipe.calculations.rounds.divide_rows import MAX_RANDOM_SEED, VALID_FRACTION, _usable_rows
from aiida_mlip_autopipe.core.randomness import derive_random_seed, make_rng
from aiida_mlip_autopipe.storage import Row, SplitSettings, split_rows
from aiida_mlip_autopipe.structures.trajectory import Trajectory

# The starting model is trained on labels of a softer teacher with a larger lattice constant, since universal potentials
# are too soft (B. Deng et al., npj Comput. Mater. 11, 9, 2025).
SOFTNESS, EXPANSION = 0.8, 1.02
N_OF_SEED = 2


def _explored_by_teacher(system: System, random_seed: int, n_of_seed: int) -> list[Row]:
    """Return labelled frames, drawn at random from explorations of other seeds by the teacher."""
    rng, frames = make_rng(random_seed, 'frames'), []
    for one in explore(system.seeds(random_seed), system.teacher, system.exploration, random_seed):
        own = frames_of([one])
        frames += [own[index] for index in rng.permutation(len(own))[:n_of_seed]]
    return label(frames, system.teacher, [{}] * len(frames))


@cache
def _softer_rows(system: System) -> list[Row]:
    """Return rows for the starting model, with labels of a softer teacher. They are the same in all repeats."""
    rows = _explored_by_teacher(system, 1, N_OF_SEED)
    shrunk = [
        Atoms(row.atoms.numbers, row.atoms.positions / EXPANSION, cell=row.atoms.cell / EXPANSION, pbc=True)
        for row in rows
    ]
    labels = predict(system.teacher, shrunk)
    for row, energy, forces in zip(rows, labels.energies, np.split(labels.forces, labels.ends[:-1]), strict=True):
        row.atoms.calc.results.update(energy=SOFTNESS * energy, forces=SOFTNESS * forces / EXPANSION)
    return rows


class Repeat:
    """A repeat for a system.

    Parameters
    ----------
    system
        The system.
    number
        Number of the repeat.
    make_training
        Makes an object with ``starting`` and ``train`` from labelled rows for the starting model.
    """

    def __init__(self, system: System, number: int, make_training: Callable[[Sequence[Row]], LinearTraining]):
        self.system, self.random_seed = system, 1000 + number
        self.seeds = system.seeds(self.random_seed)
        self.groups = {seed.seed_id: seed.record['parent'] for seed in self.seeds}
        self.kinds = {seed.seed_id: seed.record['kind'] for seed in self.seeds}
        self.training = make_training(_softer_rows(system))
        # Frames that the teacher explores from other seeds, one of each.
        self.test = _explored_by_teacher(system, 2000 + number, 1)
        self._explored: dict[str, list[Trajectory]] = {}
        self.test_labels = Predictions.from_rows(self.test)

    def explore(self, model: Settings) -> list[Trajectory]:
        """Return the trajectories of all seeds with a model."""
        key = str(model)
        if key not in self._explored:
            self._explored[key] = explore(self.seeds, model, self.system.exploration, self.random_seed)
        return self._explored[key]

    def train(self, rows: Sequence[Row], of_round: int, number: int = 0, fraction: float = 1.0) -> tuple[Settings, int]:
        """Train as the training run with this number in a round; return the model and the number of its labels."""
        name = f'tuning {number}'
        usable = [rows[index] for index in _usable_rows(rows, of_round, fraction, self.random_seed)]
        settings = SplitSettings(valid_fraction=VALID_FRACTION, test_fraction=0)
        splits = split_rows(usable, settings, random_seed=derive_random_seed(self.random_seed, 'sets', name)).splits
        seed = derive_random_seed(self.random_seed, 'training', name) % MAX_RANDOM_SEED
        return self.training.train(usable, splits, seed), len(usable)

    def error(self, model: Settings) -> float:
        """Return the force error on the test set, in eV/Å."""
        errors = measure_errors(self.test_labels, predict(model, [row.atoms for row in self.test]))
        groups = [str(index) for index in range(len(self.test))]
        return estimate_errors(errors, groups, self.random_seed)[FORCE].value
