import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
from ase.io import read
from ase.stress import voigt_6_to_full_3x3_stress
from support.errors import refused
from support.trainer_loaders import WITHOUT_MACE, read_with_mace

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage.formats.export import convert_rows


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'cu_au.h5'


def test_the_label_of_a_row_is_its_config_type_as_in_extended_xyz(path, compressed):
    labelled = replace(compressed, key_value_pairs=compressed.key_value_pairs | {'label': 'hot'})
    convert_rows(path, [labelled, compressed])
    with h5py.File(path) as file:
        types = [file[f'config_batch_0/config_{index}/config_type'][()].decode() for index in (0, 1)]
    assert types == ['hot', 'alloy']
    for name in ('nep', 'gap', 'extxyz'):
        convert_rows(path.with_name(f'{name}.xyz'), [labelled, compressed], format=name)
        assert [frame.info['config_type'] for frame in read(path.with_name(f'{name}.xyz'), ':')] == types


def test_h5py_reads_the_layout_of_mace_prepare_data(path, varied):
    assert convert_rows(path, varied).n_rows == 6
    with h5py.File(path) as file:
        assert list(file) == ['config_batch_0']
        for index, row in enumerate(varied):
            found, results = file[f'config_batch_0/config_{index}'], row.atoms.calc.results
            assert found['config_type'][()].decode() == 'alloy'
            assert found['weight'][()] == 1.0
            assert set(found['properties']) == set(results)
            weights = {name: weight[()] for name, weight in found['property_weights'].items()}
            assert weights == {'energy': 1, 'forces': 1, 'stress': 'stress' in results, 'virials': 0}
            for name in ('positions', 'cell', 'pbc'):
                np.testing.assert_array_equal(found[name][()], np.asarray(getattr(row.atoms, name)))
            np.testing.assert_array_equal(found['atomic_numbers'][()], row.atoms.numbers)
            assert found['properties/energy'][()] == results['energy']
            np.testing.assert_array_equal(found['properties/forces'][()], results['forces'])
            if 'stress' in results:
                stress = voigt_6_to_full_3x3_stress(results['stress'])
                np.testing.assert_array_equal(found['properties/stress'][()], stress)


def test_large_structures_are_written(path, make_provenance):
    from ase.build import bulk
    from ase.calculators.singlepoint import SinglePointCalculator

    from aiida_mlip_autopipe.storage import make_row

    atoms = bulk('Cu', cubic=True) * (10, 10, 10)
    atoms.calc = SinglePointCalculator(atoms, energy=1.0, forces=atoms.positions)
    convert_rows(path, [make_row(atoms, make_provenance(), {})])
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file['config_batch_0/config_0/properties/forces'][()], atoms.positions)


def test_no_object_in_the_file_has_a_timestamp_so_the_same_rows_give_the_same_bytes(path, varied):
    convert_rows(path, varied)
    convert_rows(path.with_name('b.h5'), varied)
    assert path.read_bytes() == path.with_name('b.h5').read_bytes()
    names = []
    with h5py.File(path) as file:
        file.visit(names.append)
        creation = {name: file[name].id.get_create_plist() for name in ('/', *names)}
        assert len(creation) > 6
        assert [name for name, properties in creation.items() if properties.get_obj_track_times()] == []


def test_without_h5py_the_install_command_is_shown(path, varied, monkeypatch):
    monkeypatch.setitem(sys.modules, 'h5py', None)
    with refused(Code.PACKAGE_MISSING, path.name, 'pip install "aiida-mlip-autopipe[hdf5]"'):
        convert_rows(path, varied)


@pytest.mark.mlip
@WITHOUT_MACE
def test_mace_reads_the_labels(path, varied):
    convert_rows(path, varied)
    for labels, row in zip(read_with_mace(path, {29, 79}), varied, strict=True):
        labels.assert_equal(row.atoms.calc.results, rtol=0, atol=1e-12)
