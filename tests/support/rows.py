import numpy as np
import pytest
from ase.build import fcc111
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from aiida_mlip_autopipe.storage import Provenance, make_row


def _make_provenance(**fields):
    return Provenance(
        **{
            'campaign': 'cu_au',
            'random_seed': 7,
            'config_sha256': '1' * 64,
            'seed_id': '1234567890123456',
            'exploration': '6a2f41a3-c54c-fce8-32d2-0324e1c32e22',
            'step': 120,
            'ensemble': 'nvt',
            'temperature_K': 312.123456789,
            'architecture': 'emt',
            'package_version': '0.1.0',
            'rank': 0,
        }
        | fields
    )


@pytest.fixture
def make_provenance():
    return _make_provenance


@pytest.fixture
def seed_record():
    return {
        'kind': 'alloy',
        'parent': '1234567890123456',
        'composition': {'Cu': 0.5, 'Au': 0.5},
        'strain': [0.01, None, 1.0 / 3.0],
    }


@pytest.fixture
def slab():
    """Return a rattled CuAu slab with fixed atoms, tags, magnetic moments and EMT results."""
    atoms = fcc111('Cu', (2, 2, 3), vacuum=5.0)
    atoms.numbers[::3] = 79
    atoms.rattle(0.1, seed=3)
    atoms.pbc = True
    atoms.set_initial_magnetic_moments(np.linspace(-1, 1, 12))
    atoms.calc = EMT()
    results = {name: atoms.calc.get_property(name, atoms) for name in ('energy', 'forces', 'stress')}
    atoms.calc = SinglePointCalculator(atoms, **results)
    atoms.set_constraint(FixAtoms([0, 1, 2, 3]))
    return atoms


@pytest.fixture
def make_rows(slab, seed_record):
    """Return a function that makes n rows with different frames."""

    def make(n, **fields):
        rows = []
        for step in range(n):
            atoms = slab.copy()
            atoms.calc = SinglePointCalculator(atoms, **slab.calc.results)
            atoms.calc.results['energy'] = slab.calc.results['energy'] + 0.1 * step
            rows.append(make_row(atoms, _make_provenance(step=step, rank=step, **fields), seed_record))
        return rows

    return make
