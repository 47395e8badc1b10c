"""The keys, units and sign conventions of extended XYZ files from other programs."""

import numpy as np
import pytest
from support.errors import refused
from support.foreign_files import crystals, full, write_extxyz

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset
from aiida_mlip_autopipe.storage.imports.import_dataset import import_dataset
from aiida_mlip_autopipe.storage.imports.keys import LabelKeys

LEVEL = {'method': 'dft', 'code': 'gpaw', 'functional': 'pbe'}


@pytest.fixture
def imported(tmp_path):
    """Return a function that imports frames of an extended XYZ file and returns the rows."""

    def run(frames, **keys):
        path = write_extxyz(tmp_path / 'a.extxyz', frames)
        import_dataset([path], tmp_path / 'a.db', LEVEL, keys=LabelKeys(**keys), overwrite=True)
        with Dataset(tmp_path / 'a.db') as dataset:
            return list(dataset.query())

    return run


def virial(stress, atoms):
    return full(-stress * atoms.cell.volume)


@pytest.mark.parametrize(
    ('energy', 'forces', 'stress', 'value'),
    [
        ('energy', 'forces', 'stress', lambda stress, atoms: full(stress)),
        ('energy', 'forces', 'stress', lambda stress, atoms: stress),
        ('REF_energy', 'REF_forces', 'REF_stress', lambda stress, atoms: stress),
        ('REF_energy', 'REF_forces', 'REF_virials', virial),
        ('dft_energy', 'dft_forces', 'dft_virial', virial),
        ('DFT_energy', 'DFT_force', 'DFT_stress', lambda stress, atoms: full(stress)),
        ('energy', 'force', 'virial', virial),
        ('free_energy', 'forces', 'virial', lambda stress, atoms: -stress * atoms.cell.volume),
        ('Energy', 'Forces', 'virials', virial),
        ('E', 'forces', 'Stress', lambda stress, atoms: stress),
    ],
)
def test_each_convention_gives_the_same_labels(imported, energy, forces, stress, value):
    expected = crystals()
    rows = imported(
        [
            (atoms, {energy: labels['energy'], stress: value(labels['stress'], atoms)}, {forces: labels['forces']})
            for atoms, labels in expected
        ]
    )
    assert len(rows) == 3
    for row, (atoms, labels) in zip(rows, expected, strict=True):
        np.testing.assert_array_equal(row.atoms.positions, atoms.positions)
        assert row.labels['energy'] == labels['energy']
        np.testing.assert_array_equal(row.labels['forces'], labels['forces'])
        np.testing.assert_allclose(row.labels['stress'], labels['stress'], rtol=1e-14, atol=1e-16)
        assert (row.labels['stress'][:3] < 0).all()  # the crystal is compressed


def test_keys_with_equal_values_are_one_label_and_others_are_refused_by_name(imported):
    atoms, labels = crystals(1)[0]
    arrays = {'forces': labels['forces'], 'REF_forces': labels['forces']}
    rows = imported([(atoms, {'energy': labels['energy'], 'REF_energy': labels['energy']}, arrays)])
    assert rows[0].labels['energy'] == labels['energy']
    ambiguous = [(atoms, {'energy': labels['energy'], 'REF_energy': -7.5}, {'forces': labels['forces']})]
    with refused(Code.LABELS_AMBIGUOUS, 'a.extxyz, frame 0', 'energy', 'REF_energy (-7.5)', '--energy-key'):
        imported(ambiguous)
    with refused(Code.LABELS_AMBIGUOUS, 'forces', 'REF_forces', '--forces-key'):
        imported([(atoms, {'energy': 1.0}, arrays | {'REF_forces': labels['forces'] + 1e-3})])


def test_a_named_key_is_used_and_the_other_is_kept(tmp_path):
    atoms, labels = crystals(1)[0]
    path = write_extxyz(
        tmp_path / 'a.extxyz', [(atoms, {'energy': 3.0, 'REF_energy': -7.5}, {'forces': labels['forces']})]
    )
    result = import_dataset([path], tmp_path / 'a.db', LEVEL, keys=LabelKeys(energy_key='REF_energy'))
    assert (result.files[0].keys['energy'], result.kept['energy']) == ('REF_energy', 1)
    with Dataset(tmp_path / 'a.db') as dataset:
        row = dataset.read(1)
    assert (row.labels['energy'], row.data['imported']['values']['energy']) == (-7.5, 3.0)


def test_all_frames_of_a_file_must_have_the_same_key(imported):
    (one, labels), (other, _) = crystals(2)
    forces = {'forces': labels['forces']}
    with refused(Code.LABELS_AMBIGUOUS, 'a.extxyz, frame 1', 'REF_energy', 'energy', '--energy-key'):
        imported([(one, {'energy': 1.0}, forces), (other, {'REF_energy': 1.0}, forces)])


def test_a_stress_that_contradicts_the_virial_is_refused_unless_one_is_named(imported):
    atoms, labels = crystals(1)[0]
    info = {'energy': labels['energy'], 'stress': labels['stress'], 'virial': -virial(labels['stress'], atoms)}
    frames = [(atoms, info, {'forces': labels['forces']})]
    with refused(Code.LABELS_AMBIGUOUS, 'frame 0', 'stress', 'virial', '--stress-key', '--virial-key'):
        imported(frames)
    np.testing.assert_allclose(imported(frames, stress_key='stress')[0].labels['stress'], labels['stress'])


def test_both_stress_and_virial_are_accepted_if_they_agree(imported):
    atoms, labels = crystals(1)[0]
    info = {'energy': labels['energy'], 'stress': labels['stress'], 'virial': virial(labels['stress'], atoms)}
    rows = imported([(atoms, info, {'forces': labels['forces']})])
    np.testing.assert_array_equal(rows[0].labels['stress'], labels['stress'])


@pytest.mark.parametrize(
    ('info', 'arrays', 'code', 'values'),
    [
        ({'my_energy_x': 1.0}, {'forces': np.zeros((4, 3))}, Code.LABELS_MISSING, ['energy', 'my_energy_x']),
        ({'energy': 1.0}, {}, Code.LABELS_MISSING, ['forces']),
        ({'energy': np.nan}, {'forces': np.zeros((4, 3))}, Code.LABELS_MISSING, ['energy']),
        ({'energy': 1.0}, {'forces': np.full((4, 3), np.nan)}, Code.LABELS_MISSING, ['forces']),
        ({'energy': 1.0}, {'forces': np.zeros((4, 2))}, Code.LABELS_MALFORMED, ['forces', '(4, 3)', '(4, 2)']),
        ({'energy': [1.0, 2.0]}, {'forces': np.zeros((4, 3))}, Code.LABELS_MALFORMED, ['energy', '(2,)']),
        ({'energy': 1.0, 'stress': 0.1}, {'forces': np.zeros((4, 3))}, Code.LABELS_MALFORMED, ['stress', '6', '9']),
        (
            {'energy': 1.0, 'REF_stress': np.eye(3, k=1)},
            {'forces': np.zeros((4, 3))},
            Code.LABELS_MALFORMED,
            ['stress'],
        ),
    ],
)
def test_a_frame_without_valid_labels_is_reported_with_its_number(imported, tmp_path, info, arrays, code, values):
    good, labels = crystals(1)[0]
    frames = [(good, {'energy': labels['energy']}, {'forces': labels['forces']}), (good, info, arrays)]
    with refused(code, 'a.extxyz, frame 1', *values):
        imported(frames)
    assert not (tmp_path / 'a.db').exists()
    result = import_dataset([tmp_path / 'a.extxyz'], tmp_path / 'a.db', LEVEL, skip_invalid=True)
    assert (result.n_rows, [fault.code for fault in result.faults]) == (1, [code])


def test_stresses_in_another_unit_are_refused_and_converted_if_the_unit_is_given(imported):
    from ase.units import GPa

    frames = [
        (atoms, {'energy': labels['energy'], 'stress': -labels['stress'] / GPa * 10}, {'forces': labels['forces']})
        for atoms, labels in crystals()
    ]
    with refused(Code.LABELS_UNIT, 'a.extxyz', 'stress', '--stress-unit', 'GPa'):
        imported(frames)
    rows = imported(frames, stress_unit='kbar', stress_sign='compression')
    for row, (_, labels) in zip(rows, crystals(), strict=True):
        np.testing.assert_allclose(row.labels['stress'], labels['stress'], rtol=1e-12)


def test_stresses_with_the_opposite_sign_are_refused_unless_the_sign_is_given(imported):
    expected = [crystals(1, scale=scale)[0] for scale in np.linspace(0.95, 1.05, 9)]
    frames = [
        (atoms, {'energy': labels['energy'], 'stress': -labels['stress']}, {'forces': labels['forces']})
        for atoms, labels in expected
    ]
    with refused(Code.LABELS_UNIT, 'a.extxyz', 'stress', '--stress-sign'):
        imported(frames)
    rows = imported(frames, stress_sign='compression')
    np.testing.assert_allclose(rows[0].labels['stress'], expected[0][1]['stress'])


def test_energies_per_atom_are_refused_and_converted_if_the_unit_is_given(imported):
    small, labels = crystals(1)[0]
    large = small.repeat((2, 1, 1))
    frames = [
        (small, {'energy': -3.7}, {'forces': labels['forces']}),
        (large, {'energy': -3.71}, {'forces': np.zeros((8, 3))}),
    ]
    with refused(Code.LABELS_UNIT, 'a.extxyz', 'energy', '4', '8', '--energy-unit'):
        imported(frames)
    assert [row.labels['energy'] for row in imported(frames, energy_unit='eV/atom')] == [-3.7 * 4, -3.71 * 8]


def test_a_stress_is_not_a_label_of_a_structure_that_is_not_periodic(imported):
    atoms, labels = crystals(1)[0]
    atoms.pbc = [True, True, False]
    rows = imported([(atoms, {'energy': 1.0, 'stress': labels['stress']}, {'forces': labels['forces']})])
    assert set(rows[0].labels) == {'energy', 'forces'}
    np.testing.assert_array_equal(rows[0].data['imported']['values']['stress'], labels['stress'])
