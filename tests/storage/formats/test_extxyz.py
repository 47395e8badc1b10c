import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import read, write
from support.errors import refused
from support.trainer_loaders import WITHOUT_MACE, read_with_mace, read_with_sevennet

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset, export_dataset, make_row
from aiida_mlip_autopipe.storage.formats.extxyz import config_type, write_extxyz


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'cu_au.extxyz'


def test_labels_are_written_twice_with_the_sign_and_order_of_ase(path, compressed):
    export_dataset(path, [compressed])
    back = read(path)
    results = compressed.atoms.calc.results
    assert (results['stress'][:3] < 0).all()
    assert len(set(np.abs(results['stress']).round(6))) == 6
    for name in ('energy', 'forces', 'stress'):
        np.testing.assert_allclose(back.calc.results[name], results[name], atol=1e-8)
    assert back.info['REF_energy'] == results['energy']
    np.testing.assert_allclose(back.arrays['REF_forces'], results['forces'], atol=1e-8)
    np.testing.assert_allclose(back.info['REF_stress'], results['stress'], atol=1e-8)


def test_the_comment_line_contains_the_provenance(path, compressed):
    export_dataset(path, [compressed])
    info = read(path).info
    assert {name: info[name] for name in compressed.key_value_pairs} == compressed.key_value_pairs
    assert info['label_source'] == 'mlip:emt'
    assert info['parent'] == '_12'


def test_forces_of_fixed_atoms_are_kept(path, make_rows):
    (row,) = make_rows(1)
    assert row.atoms.calc.results['forces'][0].any()
    export_dataset(path, [row])
    back = read(path)
    assert not back.constraints
    np.testing.assert_allclose(back.get_forces(), row.atoms.calc.results['forces'], atol=1e-8)


def test_rows_without_stress_are_written(path, slab, make_provenance):
    del slab.calc.results['stress']
    export_dataset(path, [make_row(slab, make_provenance(), {})])
    assert 'REF_stress' not in read(path).info


def test_a_database_is_converted_in_order(path, make_rows):
    export_dataset(path.with_suffix('.db'), make_rows(3))
    with Dataset(path.with_suffix('.db')) as dataset:
        assert export_dataset(path, dataset.query()) == 3
    assert [atoms.info['rank'] for atoms in read(path, ':')] == [0, 1, 2]


def test_labels_of_different_levels_of_theory_are_refused(path, make_rows):
    rows = [*make_rows(1), *make_rows(1, label_source='dft:vasp:pbe')]
    with refused(Code.LEVELS_MIXED, 'rows 0 and 1', 'dft:vasp:pbe', 'mlip:emt'):
        export_dataset(path, rows)
    assert not list(path.parent.iterdir())


def test_an_unsupported_suffix_is_refused(path, make_rows):
    with refused(Code.FILE_SUFFIX, 'cu_au.csv', '.db, .extxyz, .xyz'):
        export_dataset(path.with_suffix('.csv'), make_rows(1))


@pytest.mark.mlip
def test_sevennet_reads_the_same_labels_with_both_sets_of_keys(path, compressed):
    export_dataset(path, [compressed])
    for keys in ({}, {'energy_key': 'REF_energy', 'force_key': 'REF_forces', 'stress_key': 'REF_stress'}):
        (labels,) = read_with_sevennet(path, **keys)
        labels.assert_equal(compressed.atoms.calc.results, rtol=1e-6, atol=1e-6)


@pytest.mark.mlip
@WITHOUT_MACE
def test_mace_reads_the_same_labels_by_default(path, compressed):
    export_dataset(path, [compressed])
    (labels,) = read_with_mace(path, {29})
    labels.assert_equal(compressed.atoms.calc.results, rtol=0, atol=1e-8)


def test_the_file_has_the_bytes_of_the_writer_of_ase(tmp_path, make_rows):
    rows = make_rows(2)
    fixed = rows[1].atoms
    rows[0].atoms.set_constraint()
    fixed.set_constraint(FixAtoms([0]))
    fixed.set_tags(range(len(fixed)))
    fixed.set_initial_magnetic_moments([1.5] * len(fixed))
    fixed.calc = SinglePointCalculator(fixed, **fixed.calc.results)
    write_extxyz(tmp_path / 'own.extxyz', rows)
    frames = []
    for row in rows:
        atoms = row.atoms.copy()
        atoms.set_constraint()
        if row is rows[1]:
            atoms.set_array('fixed', np.arange(len(atoms)) == 0)
        atoms.info = row.key_value_pairs | {'config_type': config_type(row), 'REF_energy': row.labels['energy']}
        atoms.arrays['REF_forces'] = row.labels['forces']
        if 'stress' in row.labels:
            atoms.info['REF_stress'] = row.labels['stress']
        atoms.calc = SinglePointCalculator(atoms, **row.labels)
        frames.append(atoms)
    write(tmp_path / 'ase.extxyz', frames)
    assert (tmp_path / 'own.extxyz').read_bytes() == (tmp_path / 'ase.extxyz').read_bytes()
