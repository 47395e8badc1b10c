import sys

import numpy as np
import pytest
from ase_db_backends.aselmdb import LMDBDatabase
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset, export_dataset, make_row


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'cu_au.aselmdb'


def test_labels_structure_and_provenance_are_exact(path, make_rows):
    rows = make_rows(3)
    assert export_dataset(path, rows) == 3
    # fairchem opens the database in this way.
    database = LMDBDatabase(path, readonly=True, use_lock_file=False)
    for row, number in zip(rows, database.ids, strict=True):
        found = database._get_row(number)
        atoms = found.toatoms()
        results = row.atoms.calc.results
        assert atoms.get_potential_energy() == results['energy']
        # The constraints and the forces on fixed atoms are kept.
        assert atoms.constraints[0].index.tolist() == [0, 1, 2, 3]
        np.testing.assert_array_equal(atoms.get_forces(apply_constraint=False), results['forces'])
        np.testing.assert_array_equal(atoms.get_stress(apply_constraint=False), results['stress'])
        np.testing.assert_array_equal(atoms.positions, row.atoms.positions)
        assert found.key_value_pairs == row.key_value_pairs
        assert found.data['sid'] == f'seed-1234567890123456_{row.key_value_pairs["step"]}_6a2f41a3'
    database.close()


def test_no_additional_files_are_left(path, make_rows):
    export_dataset(path.with_suffix('.db'), make_rows(2))
    with Dataset(path.with_suffix('.db')) as dataset:
        export_dataset(path, dataset.query())
    assert sorted(found.suffix for found in path.parent.iterdir()) == ['.aselmdb', '.db']


def test_rows_without_labels_or_with_a_different_level_of_theory_are_refused(path, make_rows, slab, make_provenance):
    with refused(Code.LEVELS_MIXED, 'rows 0 and 1', 'dft:vasp:pbe'):
        export_dataset(path, [*make_rows(1), *make_rows(1, label_source='dft:vasp:pbe')])
    bare = make_row(slab, make_provenance(), {})
    bare.atoms.calc = None
    with refused(Code.LABELS_MISSING, 'energy'):
        export_dataset(path, [bare])
    assert not list(path.parent.iterdir())


def test_without_the_package_the_install_command_is_shown(path, make_rows, monkeypatch):
    monkeypatch.setitem(sys.modules, 'ase_db_backends.aselmdb', None)
    with refused(Code.PACKAGE_MISSING, path.name, 'pip install "aiida-mlip-autopipe[fairchem]"'):
        export_dataset(path, make_rows(1))
