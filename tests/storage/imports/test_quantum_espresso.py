from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset
from aiida_mlip_autopipe.storage.imports.import_dataset import import_dataset
from aiida_mlip_autopipe.storage.imports.quantum_espresso import read_pw

# Outputs of pw.x 6.7: 12 Ry, Al.pz-vbc.UPF, k-point spacing 0.6/Å.
PW = Path(__file__).parents[1] / 'dft' / 'pw'


def rows_of(*paths, target, **options):
    result = import_dataset(paths, target, overwrite=True, **options)
    with Dataset(target) as dataset:
        return result, list(dataset.query())


@pytest.mark.parametrize('name', ['crystal.out', 'layer.out'])
def test_labels_are_those_that_ase_reads(name, tmp_path):
    _, (row,) = rows_of(PW / name, target=tmp_path / 'a.db')
    atoms = read(PW / name, format='espresso-out')
    assert row.labels['energy'] == atoms.get_potential_energy(force_consistent=True)
    np.testing.assert_array_equal(row.labels['forces'], atoms.get_forces())
    np.testing.assert_array_equal(row.labels['stress'], atoms.get_stress())
    np.testing.assert_array_equal(row.atoms.positions, atoms.positions)


def test_the_level_of_theory_is_read(tmp_path):
    result, _ = rows_of(PW / 'crystal.out', target=tmp_path / 'a.db')
    parameters = result.level.parameters
    assert result.level.name == 'dft:quantum-espresso:sla+pz+nogx+nogc-12Ry'
    assert (parameters['version'], parameters['spin']) == ('6.7MaX', 'none')
    assert parameters['potentials'] == {'Al': 'c34c8b369e81ee50c191f4345b5f621b'}
    assert parameters['cutoff_eV'] == pytest.approx(12 * 13.605693, abs=1e-4)
    assert parameters['smearing_width_eV'] == pytest.approx(0.03 * 13.605693, abs=1e-5)
    # The mesh of the input, 4 x 4 x 3, is derived from the list of k-points.
    cell = np.array([[2.75, 0.05, 0], [0, 2.7, 0.1], [0.15, 0, 3.9]])
    spacings = 2 * np.pi * np.linalg.norm(np.linalg.inv(cell).T, axis=1) / [4, 4, 3]
    assert parameters['kspacing_per_A'] == pytest.approx(spacings.max(), abs=1e-3)


def test_a_layer_in_vacuum_has_the_spacing_of_its_plane(tmp_path):
    result, _ = rows_of(PW / 'layer.out', target=tmp_path / 'a.db')
    assert result.level.parameters['kspacing_per_A'] == pytest.approx(2 * np.pi / 5 / 3, abs=1e-3)
    # The level of several files has the largest spacing, so one setting for all files gives one level.
    both, _ = rows_of(PW / 'layer.out', PW / 'crystal.out', target=tmp_path / 'b.db')
    assert both.level.parameters['kspacing_per_A'] == 0.582


def test_unconverged_and_truncated_calculations_are_reported(tmp_path):
    with refused(Code.CALCULATION_UNCONVERGED, 'unconverged.out, frame 0'):
        rows_of(PW, target=tmp_path / 'a.db')
    result, rows = rows_of(PW, target=tmp_path / 'a.db', skip_invalid=True)
    assert (len(rows), [fault.code for fault in result.faults]) == (2, [Code.CALCULATION_UNCONVERGED])
    text = (PW / 'crystal.out').read_text()
    (tmp_path / 'pw.out').write_text(text.replace('JOB DONE', ''))
    with refused(Code.CALCULATION_INCOMPLETE, 'pw.out, frame 0'):
        rows_of(tmp_path / 'pw.out', target=tmp_path / 'b.db')
    (tmp_path / 'pw.out').write_text(text.replace('Forces acting', ''))
    with refused(Code.LABELS_MISSING, 'pw.out, frame 0', 'forces'):
        rows_of(tmp_path / 'pw.out', target=tmp_path / 'b.db')


def test_each_ionic_step_of_a_relaxation_is_a_row(tmp_path):
    text = (PW / 'crystal.out').read_text()
    start, end = text.index('!    total energy'), text.index('     Writing output data file')
    positions = '\nATOMIC_POSITIONS (angstrom)\nAl 0.1 0.0 0.0\nAl 1.5 1.3 2.2\n\n'
    step = text[start:end].replace('=    -8.', '=    -7.')
    final = f'Begin final coordinates{positions}End final coordinates\n'
    path = tmp_path / 'relax.out'
    path.write_text(text[:end] + positions + step + final + text[end:])
    _, rows = rows_of(path, target=tmp_path / 'a.db')
    expected = list(read(path, ':', format='espresso-out'))
    assert len(rows) == len(expected) == 2
    assert rows[1].atoms.positions[1].tolist() == [1.5, 1.3, 2.2]
    for row, atoms in zip(rows, expected, strict=True):
        assert row.labels['energy'] == atoms.get_potential_energy()
        np.testing.assert_array_equal(row.labels['stress'], atoms.get_stress())


def test_an_output_that_ends_within_a_number_has_no_labels(tmp_path):
    text = (PW / 'crystal.out').read_text()
    end = text.index('-0.04662556') + len('-0.046')
    (tmp_path / 'pw.out').write_text(text[:end])
    (fault,) = read_pw(tmp_path / 'pw.out')
    assert fault.code is Code.CALCULATION_INCOMPLETE
    assert 'pw.out, frame 0' in str(fault)
