import numpy as np
import pytest
from ase.build import bulk

from aiida_mlip_autopipe.structures.trajectory import Trajectory


def _make_trajectory(structures, seed_id='seed', first_step=0, interval=10):
    n = len(structures)
    return Trajectory(
        seed_id=seed_id,
        numbers=structures[0].numbers,
        pbc=structures[0].pbc,
        steps=first_step + interval * np.arange(n),
        positions=np.array([atoms.positions for atoms in structures]),
        cells=np.array([atoms.cell.array for atoms in structures]),
        energies=np.zeros(n),
        forces=np.zeros((n, len(structures[0]), 3)),
        stresses=np.zeros((n, 6)),
        temperatures=np.full(n, 300.0),
    )


@pytest.fixture
def make_trajectory():
    return _make_trajectory


@pytest.fixture
def rattled():
    """Return n rattled Cu3Au cells."""

    def make(n, random_seed=0, amplitude=0.1):
        rng = np.random.default_rng(random_seed)
        structures = []
        for _ in range(n):
            atoms = bulk('Cu', cubic=True)
            atoms.numbers[0] = 79
            atoms.rattle(amplitude, rng=rng)
            structures.append(atoms)
        return structures

    return make
