import json
import os
import subprocess

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import read, write
from ase.stress import voigt_6_to_full_3x3_stress
from support.errors import refused

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
    from sevenn.train.dataload import ase_reader, graph_build

    export_dataset(path, [compressed])
    results = compressed.atoms.calc.results
    # SevenNet's sign and order: xx, yy, zz, xy, yz, zx, positive in a compressed crystal.
    stress = -results['stress'][[0, 1, 2, 5, 3, 4]]
    for keys in ({}, {'energy_key': 'REF_energy', 'force_key': 'REF_forces', 'stress_key': 'REF_stress'}):
        (graph,) = graph_build(ase_reader(str(path), **keys), cutoff=4.0)
        np.testing.assert_allclose(graph['total_energy'], results['energy'], rtol=1e-6)
        np.testing.assert_allclose(graph['force_of_atoms'], results['forces'], atol=1e-6)
        np.testing.assert_allclose(graph['stress'].reshape(6), stress, atol=1e-6)


READ_WITH_MACE = """
import json, sys
import mace  # must precede e3nn, which this torch cannot load alone
import torch
from mace.data import AtomicData, KeySpecification, load_from_xyz
from mace.tools import AtomicNumberTable

torch.set_default_dtype(torch.float64)
_, (found,) = load_from_xyz(sys.argv[1], KeySpecification.from_defaults())
data = AtomicData.from_config(found, z_table=AtomicNumberTable([29]), cutoff=4.0)
weights = [float(getattr(data, name + '_weight')) for name in ('energy', 'forces', 'stress')]
print(json.dumps([float(data.energy), data.forces.tolist(), data.stress[0].tolist(), weights]))
"""


@pytest.mark.mlip
@pytest.mark.skipif(
    'MLIP_AUTOPIPE_MACE_PYTHON' not in os.environ, reason='MACE is not installed in a separate environment'
)
def test_mace_reads_the_same_labels_by_default(path, compressed):
    export_dataset(path, [compressed])
    command = [os.environ['MLIP_AUTOPIPE_MACE_PYTHON'], '-c', READ_WITH_MACE, path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    energy, forces, stress, weights = json.loads(done.stdout.splitlines()[-1])
    results = compressed.atoms.calc.results
    assert weights == [1.0, 1.0, 1.0]
    np.testing.assert_allclose(energy, results['energy'], atol=1e-8)
    np.testing.assert_allclose(forces, results['forces'], atol=1e-8)
    np.testing.assert_allclose(stress, voigt_6_to_full_3x3_stress(results['stress']), atol=1e-8)


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
