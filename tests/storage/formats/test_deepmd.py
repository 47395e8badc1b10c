from dataclasses import replace

import dpdata
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import voigt_6_to_full_3x3_stress
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage.formats.export import convert_rows


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'cu_au'


def test_dpdata_reads_each_system(path, varied):
    assert convert_rows(path, varied, format='deepmd').n_rows == 6
    assert sorted(found.name for found in path.iterdir()) == ['Au2Cu2', 'Cu3', 'Cu4', 'Cu4-nopbc']
    (crystals, alloys, cluster) = (
        dpdata.LabeledSystem(str(path / name), fmt='deepmd/npy') for name in ('Cu4', 'Au2Cu2', 'Cu4-nopbc')
    )
    for system, rows in ((crystals, varied[:2]), (alloys, varied[2:4]), (cluster, varied[5:])):
        assert system['atom_names'] == ['Cu', 'Au']
        for index, row in enumerate(rows):
            order = np.argsort(row.atoms.numbers, kind='stable')
            results = row.atoms.calc.results
            symbols = np.array(system['atom_names'])[system['atom_types']]
            assert symbols.tolist() == [row.atoms.symbols[i] for i in order]
            np.testing.assert_array_equal(system['coords'][index], row.atoms.positions[order])
            np.testing.assert_array_equal(system['energies'][index], results['energy'])
            np.testing.assert_array_equal(system['forces'][index], results['forces'][order])
    assert cluster.nopbc
    assert 'virials' not in cluster.data
    for index, row in enumerate(varied[:2]):
        np.testing.assert_array_equal(crystals['cells'][index], row.atoms.cell.array)
        stress = voigt_6_to_full_3x3_stress(row.atoms.calc.results['stress'])
        np.testing.assert_allclose(crystals['virials'][index], -stress * row.atoms.get_volume(), rtol=1e-12)
    # The first crystal is compressed and the second one is stretched.
    assert np.trace(crystals['virials'][0]) > 0 > np.trace(crystals['virials'][1])


def test_an_existing_folder_is_refused_even_with_overwrite(path, varied):
    path.mkdir()
    with refused(Code.FOLDER_EXISTS, str(path)):
        convert_rows(path, varied, format='deepmd', overwrite=True)
    assert not list(path.iterdir())


def test_an_error_leaves_no_folder(path, varied, make_rows):
    other = make_rows(1, label_source='dft:vasp:pbe')
    with refused(Code.LEVELS_MIXED):
        convert_rows(path, [*varied, *other], format='deepmd')
    assert not list(path.parent.iterdir())


def test_periodic_frames_with_and_without_stress_are_separate_systems(path, varied):
    del varied[1].atoms.calc.results['stress']
    convert_rows(path, varied[:2], format='deepmd')
    assert sorted(found.name for found in path.iterdir()) == ['Cu4', 'Cu4-novirial']
    assert not (path / 'Cu4-novirial' / 'set.000' / 'virial.npy').exists()


def test_clusters_with_and_without_stress_are_separate_systems(path, varied):
    other = replace(varied[5], atoms=varied[5].atoms.copy())
    other.atoms.calc = SinglePointCalculator(other.atoms, **varied[5].labels, stress=np.zeros(6))
    assert convert_rows(path, [varied[5], other], format='deepmd').n_rows == 2
    assert sorted(found.name for found in path.iterdir()) == ['Cu4-nopbc', 'Cu4-nopbc-novirial']
