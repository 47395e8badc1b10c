import re
from pathlib import Path

import ase
import numpy as np
import pytest
from ase.io import read
from support.errors import refused
from support.foreign_files import crystals, labelled, write_vasprun

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset
from aiida_mlip_autopipe.storage.imports.import_dataset import import_dataset

# Outputs of VASP 5.3 and 6.3 that ASE has for its own tests.
OUTPUTS = Path(ase.__file__).parent / 'test' / 'testdata' / 'vasp'


def rows_of(*paths, target, **options):
    result = import_dataset(paths, target, overwrite=True, **options)
    with Dataset(target) as dataset:
        return result, list(dataset.query())


@pytest.mark.parametrize('name', ['vasprun_pstress.xml', 'vasprun_dfpt.xml', 'OUTCAR_example_1'])
def test_labels_are_those_that_ase_reads(name, tmp_path):
    _, (row,) = rows_of(OUTPUTS / name, target=tmp_path / 'a.db')
    atoms = read(OUTPUTS / name, format='vasp-out' if 'OUTCAR' in name else 'vasp-xml')
    assert row.labels['energy'] == atoms.get_potential_energy(force_consistent=True)
    np.testing.assert_array_equal(row.labels['forces'], atoms.get_forces())
    np.testing.assert_array_equal(row.labels['stress'], atoms.get_stress())
    np.testing.assert_array_equal(row.atoms.positions, atoms.positions)


def test_the_level_of_theory_of_vasprun_is_read(tmp_path):
    result, (row,) = rows_of(OUTPUTS / 'vasprun_dfpt.xml', target=tmp_path / 'a.db')
    assert (result.level.name, row.level.hash) == ('dft:vasp:pbe-400eV', result.level.hash)
    parameters = row.level.parameters
    expected = {
        'version': '6.3.2',
        'functional': 'pbe',
        'cutoff_eV': 400,
        'potentials': {'Na': 'PAW_PBE Na 08Apr2002', 'Cl': 'PAW_PBE Cl 06Sep2000'},
        'spin': 'none',
        'precision': 'accurate',
        'energy_tolerance_eV': 1e-8,
        'smearing': 0,
        'smearing_width_eV': 0.1,
    }
    assert {name: parameters[name] for name in expected} == expected
    # 6 divisions of a reciprocal vector of fcc, 2π √3 / a
    assert parameters['kspacing_per_A'] == pytest.approx(2 * np.pi * np.sqrt(3) / (2 * 2.72739551) / 3, abs=1e-3)


def test_the_level_of_theory_of_outcar_is_read(tmp_path):
    text = (OUTPUTS / 'OUTCAR_example_1').read_text()
    added = '   TITEL  = PAW_PBE Ni 06Sep2000\n generate k-points for:    2    2    1\n'
    (tmp_path / 'OUTCAR').write_text(text.replace(' Dimension of arrays:', added + ' Dimension of arrays:', 1))
    result, _ = rows_of(tmp_path / 'OUTCAR', target=tmp_path / 'a.db')
    parameters = result.level.parameters
    assert (result.level.name, parameters['version'], parameters['spin']) == (
        'dft:vasp:pbe-300eV',
        '5.3.3',
        'collinear',
    )
    assert parameters['potentials'] == {'Ni': 'PAW_PBE Ni 06Sep2000'}
    # The cluster is in a vacuum, so only directions with several k-points count.
    assert parameters['kspacing_per_A'] == pytest.approx(2 * np.pi / 17.93435 / 2, abs=1e-3)


def test_each_converged_ionic_step_is_a_row(tmp_path):
    steps = crystals(3)
    path = write_vasprun(tmp_path / 'vasprun.xml', steps, n_electronic=[9, 60, 12], limit=60)
    with refused(Code.CALCULATION_UNCONVERGED, 'vasprun.xml, frame 1', 'NELM = 60'):
        rows_of(path, target=tmp_path / 'a.db')
    _, rows = rows_of(path, target=tmp_path / 'a.db', skip_invalid=True)
    assert [row.key_value_pairs['step'] for row in rows] == [0, 2]
    for row, (atoms, labels) in zip(rows, (steps[0], steps[2]), strict=True):
        assert row.labels['energy'] == labels['energy']
        np.testing.assert_allclose(row.atoms.positions, atoms.positions, atol=1e-13)
        np.testing.assert_array_equal(row.labels['forces'], labels['forces'])
        np.testing.assert_allclose(row.labels['stress'], labels['stress'], rtol=1e-12)
        assert (row.labels['stress'][:3] < 0).all()  # the crystal is compressed


def test_the_complete_steps_of_a_truncated_run_can_be_imported(tmp_path):
    path = write_vasprun(tmp_path / 'vasprun.xml', crystals(3))
    text = path.read_text()
    path.write_text(text[: text.rindex('<varray name="forces">') + 40])
    with refused(Code.CALCULATION_INCOMPLETE, 'vasprun.xml, frame 2'):
        rows_of(path, target=tmp_path / 'a.db')
    _, rows = rows_of(path, target=tmp_path / 'a.db', skip_invalid=True)
    np.testing.assert_array_equal(rows[1].labels['forces'], crystals(3)[1][1]['forces'])
    assert len(rows) == 2
    path.write_text('<?xml version="1.0"?><modeling><generator>')
    with refused(Code.CALCULATION_INCOMPLETE, 'vasprun.xml'):
        rows_of(path, target=tmp_path / 'a.db')


def test_unconverged_steps_and_truncation_of_outcar_are_reported(tmp_path):
    text = (OUTPUTS / 'OUTCAR_example_1').read_text()
    marker = 'aborting loop because EDIFF is reached'
    start = text.index(marker) + len(marker)
    end = text.index('energy(sigma->0)', start)
    end = text.index('\n', end) + 1
    step = text[text.index('Iteration') : end].replace(marker, 'aborting loop EDIFF was not reached (unconverged)')
    (tmp_path / 'OUTCAR').write_text(text[:end] + step + text[end:])
    with refused(Code.CALCULATION_UNCONVERGED, 'OUTCAR, frame 1', 'NELM = 120'):
        rows_of(tmp_path / 'OUTCAR', target=tmp_path / 'a.db')
    (tmp_path / 'OUTCAR').write_text(text[:end])
    with refused(Code.CALCULATION_INCOMPLETE, 'OUTCAR, frame 1'):
        rows_of(tmp_path / 'OUTCAR', target=tmp_path / 'a.db')
    (tmp_path / 'OUTCAR').write_text(text[: text.index('Iteration')])
    with refused(Code.FILE_UNREADABLE, 'OUTCAR, frame 0'):
        rows_of(tmp_path / 'OUTCAR', target=tmp_path / 'a.db')


def test_more_ions_than_the_header_can_have_are_refused_before_memory_is_allocated(tmp_path):
    text = (OUTPUTS / 'OUTCAR_example_1').read_text()
    (tmp_path / 'OUTCAR').write_text(re.sub(r'(ions per type =\s+)\d+', r'\g<1>999999999999', text))
    with refused(Code.FILE_UNREADABLE, 'OUTCAR, frame 0', '999999999999'):
        rows_of(tmp_path / 'OUTCAR', target=tmp_path / 'a.db')


def test_initial_magnetic_moments_and_hubbard_corrections_are_read(tmp_path):
    atoms, labels = crystals(1, symbol='Ni')[0]
    tags = {'ISPIN': 2, 'MAGMOM': [2.0, -2.0, 1.0, 0.0], 'LDAU': 'T', 'LDAUTYPE': 2}
    tags |= {'LDAUU': [6.2], 'LDAUJ': [0.5], 'LDAUL': [2]}
    write_vasprun(tmp_path / 'vasprun.xml', [(atoms, labels)], tags=tags)
    result, (row,) = rows_of(tmp_path / 'vasprun.xml', target=tmp_path / 'a.db')
    assert row.atoms.get_initial_magnetic_moments().tolist() == [2.0, -2.0, 1.0, 0.0]
    assert (result.level.name, result.level.parameters['spin']) == ('dft:vasp:pbe+u-400eV', 'collinear')
    assert result.level.parameters['hubbard_U_eV'] == {'Ni': {'U': 6.2, 'J': 0.5, 'l': 2}}


def test_files_with_different_elements_have_one_level_and_files_with_different_settings_are_refused(tmp_path):
    for name, symbol, tags in (('a', 'Cu', {}), ('b', 'Au', {}), ('c', 'Cu', {'ENMAX': 520.0})):
        (tmp_path / name).mkdir()
        write_vasprun(tmp_path / name / 'vasprun.xml', crystals(1, symbol=symbol), tags=tags)
    result, rows = rows_of(tmp_path / 'a', tmp_path / 'b', target=tmp_path / 'all.db')
    assert set(result.level.parameters['potentials']) == {'Cu', 'Au'}
    assert {row.level.hash for row in rows} == {result.level.hash}
    with refused(Code.LEVELS_MIXED, 'cutoff_eV: 400 and 520', '--level'):
        rows_of(tmp_path, target=tmp_path / 'all.db')
    with refused(Code.LEVELS_MIXED, 'level.code', 'gpaw', 'vasp'):
        rows_of(tmp_path / 'a', target=tmp_path / 'all.db', level={'code': 'gpaw'})


def test_outcar_is_not_read_next_to_vasprun(tmp_path):
    from shutil import copy

    write_vasprun(tmp_path / 'vasprun.xml', [labelled(crystals(1)[0][0])])
    copy(OUTPUTS / 'OUTCAR_example_1', tmp_path / 'OUTCAR')
    result, rows = rows_of(tmp_path, target=tmp_path / 'all.db')
    assert ([path.name for path in result.replaced], len(rows)) == (['OUTCAR'], 1)
    with refused(Code.LEVELS_MIXED, 'version: 6.4.2 and 5.3.3'):
        rows_of(tmp_path / 'vasprun.xml', tmp_path / 'OUTCAR', target=tmp_path / 'all.db')
