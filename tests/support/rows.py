import numpy as np
import pytest
from ase.build import bulk, fcc111
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


def _with_emt(atoms):
    atoms.calc = EMT()
    names = ('energy', 'forces', 'stress') if atoms.pbc.all() else ('energy', 'forces')
    results = {name: atoms.calc.get_property(name, atoms) for name in names}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.fixture
def compressed():
    """Return a row of a compressed, sheared crystal."""
    atoms = bulk('Cu', cubic=True)
    atoms.set_cell(atoms.cell @ [[0.95, 0, 0], [0.02, 0.96, 0], [0.01, 0.03, 0.97]], scale_atoms=True)
    atoms.rattle(0.05, seed=2)
    return make_row(_with_emt(atoms), _make_provenance(), {'kind': 'alloy', 'parent': '12'})


@pytest.fixture
def varied(compressed):
    """Return rows of crystals with elements in different orders, of a layer and of a cluster."""
    stretched = bulk('Cu', cubic=True, a=3.8)
    stretched.rattle(0.05, seed=3)
    alloys = []
    for numbers in ((79, 29, 29, 79), (29, 79, 79, 29)):
        alloy = bulk('Cu', cubic=True, a=3.7)
        alloy.numbers[:] = numbers
        alloy.rattle(0.1, seed=numbers[0])
        alloys.append(alloy)
    layer = fcc111('Cu', (1, 1, 3))
    layer.rattle(0.1, seed=5)
    cluster = bulk('Cu', cubic=True)
    cluster.set_cell(None)
    cluster.pbc = False
    cluster.rattle(0.1, seed=6)
    structures = [_with_emt(atoms) for atoms in (stretched, *alloys, layer, cluster)]
    record = {'kind': 'alloy', 'parent': '13'}
    rows = [make_row(atoms, _make_provenance(step=1 + i, rank=1 + i), record) for i, atoms in enumerate(structures)]
    return [compressed, *rows]
