"""No operation on a dataset changes the structures."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import read
from ase_db_backends.aselmdb import LMDBDatabase
from support.structures import assert_same_structure

from aiida_mlip_autopipe.storage import Dataset, export_dataset, export_splits, make_row
from aiida_mlip_autopipe.storage.merge import merge_datasets

SUFFIXES = ('.db', '.aselmdb', '.extxyz')


def crystal():
    """Return a triclinic crystal, periodic in all directions, whose fixed atoms differ from those of the slab."""
    atoms = bulk('NiO', 'rocksalt', a=4.2).repeat((2, 1, 1))
    atoms.set_cell(atoms.cell.array @ [[1.01, 0.02, 0], [0, 0.99, 0.03], [0.04, 0, 1.02]], scale_atoms=True)
    atoms.rattle(0.05, seed=4)
    atoms.set_tags([3, 0, 1, 2])
    atoms.set_initial_magnetic_moments([2.0, 0.0, -2.0, 0.25])
    atoms.set_initial_charges([2.0, -2.0, 2.0, -2.0])
    atoms.set_constraint(FixAtoms([1, 3]))
    return atoms


@pytest.fixture
def rows(slab, make_provenance):
    """Return rows of a slab with a non-periodic direction, a crystal, and a crystal without further properties."""
    layer = slab.copy()
    layer.pbc = (True, True, False)
    layer.set_initial_charges(np.linspace(-0.5, 0.5, len(layer)))
    found = []
    for step, atoms in enumerate((layer, crystal(), bulk('Cu', cubic=True))):
        rng = np.random.default_rng(step)
        results = {'energy': -1.5 - step, 'forces': rng.normal(size=(len(atoms), 3))}
        atoms.calc = SinglePointCalculator(atoms, **results, **({'stress': rng.normal(size=6)} if step else {}))
        found.append(make_row(atoms, make_provenance(step=step, rank=step), {'kind': 'alloy', 'parent': 'a'}))
    return found


def export(folder, rows, suffix):
    export_dataset(folder / f'all{suffix}', rows)
    return [folder / f'all{suffix}']


def convert(folder, rows, suffix):
    export_dataset(folder / 'before.db', rows)
    with Dataset(folder / 'before.db') as dataset:
        export_dataset(folder / f'all{suffix}', dataset.query())
    return [folder / f'all{suffix}']


def split(folder, rows, suffix):
    export_dataset(folder / 'before.db', rows)
    with Dataset(folder / 'before.db') as dataset:
        paths, _ = export_splits(folder / f'all{suffix}', list(dataset.query()), ['train', 'valid', 'test'])
    return [paths[name] for name in ('train', 'valid', 'test')]


def merge(folder, rows, suffix):
    export_dataset(folder / 'first.db', rows[:2])
    export_dataset(folder / 'second.db', rows[1:])
    merge_datasets([folder / 'first.db', folder / 'second.db'], folder / f'all{suffix}')
    return [folder / f'all{suffix}']


def change(folder, rows, suffix):
    """Write the rows in reverse order, and correct the order by updates."""
    path = folder / f'all{suffix}'
    export_dataset(path, rows[::-1])
    with Dataset(path) as dataset:
        for place, row in enumerate(rows, start=1):
            dataset.update(type(row)(row.atoms, row.key_value_pairs, row.data, place))
    return [path]


def structures_in(path):
    if path.suffix == '.extxyz':
        return read(path, ':')
    if path.suffix == '.aselmdb':
        database = LMDBDatabase(path, readonly=True, use_lock_file=False)
        found = [database._get_row(number).toatoms() for number in database.ids]
        database.close()
        return found
    with Dataset(path) as dataset:
        return [row.atoms for row in dataset.query()]


@pytest.mark.parametrize(
    ('write', 'suffix'),
    [*((write, suffix) for write in (export, convert, split, merge) for suffix in SUFFIXES), (change, '.db')],
)
def test_structures_and_labels_are_unchanged_in_every_format(tmp_path, rows, write, suffix):
    expected = [row.atoms.copy() for row in rows]
    labels = [row.labels for row in rows]
    found = [atoms for path in write(tmp_path, rows, suffix) for atoms in structures_in(path)]
    # The text is rounded to eight decimals.
    tolerance = 1e-8 if suffix == '.extxyz' else 0.0
    assert [atoms.get_chemical_formula() for atoms in expected] == ['Au4Cu8', 'Ni2O2', 'Cu4']
    for atoms, structure, label in zip(found, expected, labels, strict=True):
        assert_same_structure(atoms, structure, tolerance)
        assert set(atoms.calc.results) == set(label)
        for name, values in label.items():
            np.testing.assert_allclose(atoms.calc.results[name], values, rtol=0, atol=tolerance, err_msg=name)


def test_a_row_has_the_structure_of_its_frame(slab, make_provenance):
    slab.set_initial_charges(np.linspace(-0.5, 0.5, len(slab)))
    assert_same_structure(make_row(slab, make_provenance(), {}).atoms, slab)
