import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from ase.units import GPa
from support.errors import refused
from support.pw_runs import ESPRESSO, PW, crystal, finish_calculations, label_by_emt, layer

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset, export_dataset
from aiida_mlip_autopipe.storage.dft import label_rows, write_dft_inputs
from aiida_mlip_autopipe.storage.dft.inputs import make_code
from aiida_mlip_autopipe.storage.imports.import_dataset import import_dataset
from aiida_mlip_autopipe.storage.imports.levels import level_of_dataset
from aiida_mlip_autopipe.storage.merge import merge_datasets

VASP = {'code': 'vasp', 'label_source': 'dft:vasp:pbe', 'incar': {'ENCUT': 520}}


def alloy():
    """Return a crystal with alternating elements, so that sorting changes the order of the atoms."""
    atoms = crystal()
    atoms = atoms.repeat((1, 1, 2))
    atoms.symbols = 'AlCuAlCu'
    return atoms


@pytest.fixture
def row_of(make_provenance):
    def make(atoms, seed_id):
        return label_by_emt(atoms, make_provenance(seed_id=seed_id, step=10))

    return make


@pytest.fixture
def rows(row_of):
    return [row_of(crystal(), 'abc0'), row_of(layer(), 'abc1')]


@pytest.fixture
def calculated(rows, tmp_path):
    """Return a folder of finished calculations of pw.x."""
    return finish_calculations(tmp_path / 'runs', rows)


def test_labels_are_read_from_the_output_of_pw(calculated, rows, tmp_path):
    result = label_rows(calculated, rows[::-1])
    assert result.faults == ()
    layer_row, row = result.rows
    assert row.key_value_pairs['level'] == row.level.hash
    assert row.key_value_pairs['label_source'] == 'dft:quantum-espresso:lda'
    # Nothing says that the calculator of the exploration computed the labels.
    assert row.key_value_pairs['architecture'] == row.provenance.labelled.architecture == 'quantum-espresso'
    assert {'precision', 'model'}.isdisjoint(row.key_value_pairs)
    assert (row.level.method, row.level.code, row.level.name) == ('dft', 'quantum-espresso', 'dft:quantum-espresso:lda')
    parameters = row.level.parameters
    assert (parameters['version'], parameters['functional']) == ('6.7MaX', 'SLA PZ NOGX NOGC')
    assert parameters['cutoff_eV'] == pytest.approx(12 * 13.605693, abs=1e-3)
    assert parameters['potentials'] == {'Al': 'c34c8b369e81ee50c191f4345b5f621b'}
    # The spacing is that of the settings, although the meshes of the two cells differ.
    assert parameters['kspacing_per_A'] == 0.6
    assert layer_row.level.hash == row.level.hash
    assert row.provenance.labelled.calculator_version == '6.7MaX'
    assert row.provenance.label_source == 'dft:quantum-espresso:lda'
    assert (row.provenance.seed_id, row.provenance.explored.architecture) == ('abc0', 'emt')
    # The values in crystal.out are in Ry and kbar. A pressure is positive there and negative in ASE.
    assert row.labels['energy'] == pytest.approx(-8.34463162 * 13.605693, abs=1e-4)
    kbar = np.array([85.22, 25.61, 64.53, -42.18, -38.29, -6.01])
    np.testing.assert_allclose(row.labels['stress'], -0.1 * kbar * GPa, rtol=2e-3)
    # The labels of EMT and DFT agree in sign and order of magnitude.
    before = row.data['labels_before']['mlip:emt']
    for name in ('forces', 'stress'):
        assert (np.sign(row.labels[name]) == np.sign(before[name])).all()
        assert (np.abs(row.labels[name] / before[name]) < 5).all()
    # The structure is unchanged, fixed atoms have forces, and a layer has no stress.
    np.testing.assert_array_equal(row.atoms.positions, rows[0].atoms.positions)
    assert row.atoms.constraints[0].index.tolist() == [0]
    assert row.labels['forces'][0].any()
    assert 'stress' not in layer_row.labels
    # The energies of isolated atoms with EMT are removed, and the labels from EMT are kept in the database.
    assert 'isolated_atoms' not in row.data
    export_dataset(tmp_path / 'dft.db', result.rows)
    with Dataset(tmp_path / 'dft.db') as dataset:
        np.testing.assert_array_equal(
            dataset.read(2).data['labels_before']['mlip:emt']['forces'], rows[0].labels['forces']
        )


def test_imported_outputs_have_the_level_of_the_rows_that_they_label(calculated, rows, tmp_path):
    labelled = label_rows(calculated, rows).rows
    export_dataset(tmp_path / 'labelled.db', labelled[:1])
    assert import_dataset([calculated], tmp_path / 'a.db').level.hash == labelled[0].level.hash
    # Outputs without the inputs do not contain the settings.
    shutil.copy(PW / 'crystal.out', tmp_path / 'pw.out')
    alone = import_dataset([tmp_path / 'pw.out'], tmp_path / 'b.db').level
    assert {text.split(':')[0] for text in labelled[0].level.differences(alone)} == {'kspacing_per_A'}
    level = level_of_dataset(tmp_path / 'labelled.db')
    assert import_dataset([tmp_path / 'pw.out'], tmp_path / 'c.db', level).level.hash == level.hash
    assert merge_datasets([tmp_path / 'labelled.db', tmp_path / 'c.db'], tmp_path / 'all.db').n_rows == 2


def test_inputs_of_pw_compute_the_labels_of_the_unchanged_structure(calculated):
    text = ' '.join((calculated / 'seed-abc0_10' / 'pw.in').read_text().split())
    for entry in ("calculation = 'scf'", 'tstress = .true.', 'tprnfor = .true.', 'ecutwfc = 12.0', 'degauss = 0.03'):
        assert entry in text
    # There are no constraints, because fixed atoms would have no forces.
    assert 'Al 0.0565000000 0.0010000000 0.0390000000 Al' in text
    assert 'K_POINTS automatic 4 4 3 0 0 0' in text
    assert 'K_POINTS automatic 3 3 1 0 0 0' in ' '.join((calculated / 'seed-abc1_10' / 'pw.in').read_text().split())


def write_vasprun(
    folder, atoms, labels, n_electronic=9, limit=200, cutoff_eV=520, change_eV=0.1, tags='', mesh='', more=''
):
    """Write the required parts of a vasprun.xml. VASP's stress is in kbar and positive for a compressed crystal.

    ``change_eV`` is the change of the energy in the last electronic step.
    """

    def vectors(name, values):
        inner = ''.join('<v>' + ' '.join(f'{x:.12f}' for x in vector) + '</v>' for vector in values)
        return f'<varray name="{name}">{inner}</varray>'

    stress = -labels['stress'] / (0.1 * GPa)
    full = stress[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
    crystal = f'<crystal>{vectors("basis", atoms.cell.array)}</crystal>'
    positions = vectors('positions', atoms.get_scaled_positions())
    structure = f'{crystal}{positions}'
    species = ''.join(f'<rc><c>{symbol}</c><c>1</c></rc>' for symbol in atoms.get_chemical_symbols())
    energy = f'<energy><i name="e_fr_energy">{labels["energy"]:.12f}</i><i name="e_0_energy">1.0</i></energy>'
    first = energy.replace(f'{labels["energy"]:.12f}', f'{labels["energy"] + change_eV:.12f}')
    steps = f'<scstep>{first}</scstep>' * (n_electronic - 1) + f'<scstep>{energy}</scstep>'
    generation = f'<generation param="Gamma"><v type="int" name="divisions">{mesh}</v></generation>' if mesh else ''
    (folder / 'vasprun.xml').write_text(
        f'<modeling><kpoints>{generation}'
        f'<varray name="kpointlist"><v>0 0 0</v></varray><varray name="weights"><v>1</v></varray>'
        f'</kpoints><incar><i name="ENCUT">{cutoff_eV}</i><i name="EDIFF">0.00000100</i>{tags}</incar>'
        f'<parameters><separator><i type="int" name="NELM">{limit}</i></separator>{more}</parameters>'
        f'<atominfo><array name="atoms"><set>{species}</set></array></atominfo>'
        f'<structure name="initialpos">{structure}</structure>'
        f'<calculation>{steps}'
        f'<structure>{structure}</structure>{vectors("forces", labels["forces"])}{vectors("stress", full)}{energy}'
        '</calculation></modeling>'
    )


@pytest.fixture
def vasp(row_of, tmp_path):
    """Return the row of an alloy, the folder of its VASP calculation, and different labels for it."""
    row = row_of(alloy(), 'abc2')
    (folder,) = write_dft_inputs(tmp_path / 'vasp', [row], make_code(VASP, 'x'))
    labels = {
        'energy': -15.5,
        'forces': np.arange(12.0).reshape(4, 3) - [4.5, 5.5, 6.5],
        'stress': np.array([-0.06, -0.05, -0.04, 0.03, 0.02, 0.01]),
    }
    return row, folder, labels


def test_labels_of_vasp_are_in_the_order_of_the_row(vasp):
    row, folder, labels = vasp
    order = [0, 2, 1, 3]
    assert json.loads((folder / 'row.json').read_text())['order'] == order
    assert (folder / 'POTCAR.spec').read_text() == 'Al\nCu\n'
    write_vasprun(folder, row.atoms[order], labels | {'forces': labels['forces'][order]})
    (found,) = label_rows(folder.parent, [row]).rows
    assert found.labels['energy'] == pytest.approx(-15.5)
    np.testing.assert_allclose(found.labels['forces'], labels['forces'], atol=1e-9)
    np.testing.assert_allclose(found.labels['stress'], labels['stress'], atol=1e-9)


def test_inputs_of_vasp_do_not_move_atoms_and_contain_magnetic_moments(row_of, tmp_path):
    atoms = crystal()
    atoms.set_initial_magnetic_moments([1.0, -1.0])
    (folder,) = write_dft_inputs(tmp_path / 'runs', [row_of(atoms, 'a')], make_code(VASP, 'x'))
    incar = dict(line.split(' = ') for line in (folder / 'INCAR').read_text().splitlines() if line)
    assert (incar['NSW'], incar['ENCUT'], incar['ISPIN']) == ('0', '520.0', '2')
    assert (folder / 'KPOINTS').read_text().splitlines()[2:4] == ['Gamma', '12 12 9']
    assert 'Selective' not in (folder / 'POSCAR').read_text()


def test_convergence_in_exactly_the_allowed_number_of_steps_is_accepted(vasp):
    row, folder, labels = vasp
    atoms = row.atoms[[0, 2, 1, 3]]
    write_vasprun(folder, atoms, labels, n_electronic=40, limit=40, change_eV=5e-7)
    assert len(label_rows(folder.parent, [row]).rows) == 1
    write_vasprun(folder, atoms, labels, n_electronic=40, limit=40, change_eV=2e-6)
    assert_fault(label_rows(folder.parent, [row]), Code.CALCULATION_UNCONVERGED, 'NELM = 40')
    write_vasprun(folder, atoms, labels, n_electronic=1, limit=1, change_eV=0)
    assert_fault(label_rows(folder.parent, [row]), Code.CALCULATION_UNCONVERGED, 'NELM = 1')


@pytest.mark.parametrize(
    ('options', 'difference'),
    [
        ({'cutoff_eV': 300}, 'ENCUT: 520 and 300'),
        ({'mesh': '1 1 1'}, 'k_points: [12, 12, 5] and [1, 1, 1]'),
        ({'tags': '<i name="GGA">    RP</i>'}, 'GGA: not given and rp'),
        ({'tags': '<i name="ISPIN">     2</i>'}, 'ISPIN: 1 and 2'),
        ({'tags': '<i name="SIGMA">  0.20000000</i>'}, 'SIGMA: 0.05 and 0.2'),
        ({'tags': '<i name="PSTRESS">   100.0</i>'}, 'PSTRESS: not given and 100'),
        ({'tags': '<v name="LDAUU">  5.3 0.0</v>'}, 'LDAUU: not given and [5.3, 0.0]'),
    ],
)
def test_results_of_vasp_with_different_settings_from_its_inputs_are_refused(vasp, options, difference):
    row, folder, labels = vasp
    write_vasprun(folder, row.atoms[[0, 2, 1, 3]], labels, **options)
    assert_fault(label_rows(folder.parent, [row]), Code.CALCULATION_CHANGED, str(folder), difference)


def test_spellings_and_defaults_in_the_output_of_vasp_are_not_different_settings(vasp):
    row, folder, labels = vasp
    printed = {'PREC': 'accura', 'LREAL': 'F', 'GGA': '--', 'ISPIN': '     1', 'LHFCALC': ' F ', 'IVDW': '0'}
    tags = ''.join(f'<i name="{name}">{value}</i>' for name, value in printed.items())
    more = '<i name="ENMAX">520.0</i><i name="GGA">PE</i>'
    write_vasprun(
        folder, row.atoms[[0, 2, 1, 3]], labels, tags=tags.replace('GGA', 'SYSTEM'), mesh='12 12 5', more=more
    )
    assert label_rows(folder.parent, [row]).faults == ()
    write_vasprun(folder, row.atoms[[0, 2, 1, 3]], labels, tags=tags, mesh='12 12 5')
    assert label_rows(folder.parent, [row]).faults == ()


@pytest.mark.parametrize(
    ('old', 'new', 'difference'),
    [
        ('cutoff     =      12.0000', 'cutoff     =      10.0000', 'ecutwfc: 12 and 10'),
        ('width (Ry)=  0.0300', 'width (Ry)=  0.0500', 'degauss: 0.03 and 0.05'),
        ('Marzari-Vanderbilt smearing', 'Gaussian smearing', 'smearing: marzari-vanderbilt and gaussian'),
        ('Al.pz-vbc.UPF', 'Al.pbe.UPF', "['Al.pz-vbc.UPF'] and ['Al.pbe.UPF']"),
        ('threshold =      1.0E-08', 'threshold =      1.0E-03', 'conv_thr: 1e-08 and 0.001'),
    ],
)
def test_results_of_pw_with_different_settings_from_its_inputs_are_refused(calculated, rows, old, new, difference):
    path = calculated / 'seed-abc0_10' / 'pw.out'
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert_fault(label_rows(calculated, rows), Code.CALCULATION_CHANGED, str(path.parent), difference)


def test_a_functional_that_was_removed_from_the_incar_is_noticed(vasp):
    row, folder, labels = vasp
    request(folder, GGA='rp')
    write_vasprun(folder, row.atoms[[0, 2, 1, 3]], labels, more='<i name="GGA">--</i>')
    assert_fault(label_rows(folder.parent, [row]), Code.CALCULATION_CHANGED, 'GGA: rp and not given')


def test_results_of_pw_with_other_k_points_are_refused(calculated, rows):
    request(calculated / 'seed-abc0_10', k_points=[8, 8, 6])
    assert_fault(label_rows(calculated, rows), Code.CALCULATION_CHANGED, 'k_points: [8, 8, 6] and [4, 4, 3]')


def test_a_net_force_is_refused(vasp):
    row, folder, labels = vasp
    write_vasprun(folder, row.atoms[[0, 2, 1, 3]], labels | {'forces': labels['forces'] + [1.25, 0, 0]})
    assert_fault(label_rows(folder.parent, [row]), Code.LABELS_IMPLAUSIBLE, str(folder), '5 eV/Å', '0.04 eV/Å')


@pytest.mark.parametrize(('shift_eV', 'n_left_out', 'n_warnings'), [(1000, 1, 0), (8, 0, 1), (0, 0, 0)])
def test_an_energy_far_from_the_other_rows_is_refused_or_reported(
    row_of, vasp, tmp_path, shift_eV, n_left_out, n_warnings
):
    _, _, labels = vasp
    rows = [row_of(alloy(), f'abc{number}') for number in range(12)]
    folders = write_dft_inputs(tmp_path / 'many', rows, make_code(VASP, 'x'))
    for number, (row, folder) in enumerate(zip(rows, folders, strict=True)):
        energy = labels['energy'] + 0.01 * (number % 5) + shift_eV * (number == 7)
        write_vasprun(folder, row.atoms[[0, 2, 1, 3]], labels | {'energy': energy})
    result = label_rows(tmp_path / 'many', rows)
    assert len(result.rows) == 12 - n_left_out
    assert [fault.code for fault in result.faults] == [Code.LABELS_IMPLAUSIBLE] * n_left_out
    assert len(result.warnings) == n_warnings
    for message in (*map(str, result.faults), *result.warnings):
        assert 'seed-abc7_10' in message
        assert f'+{shift_eV / 4:g}' in message


def test_incomplete_and_unconverged_results_of_vasp_are_refused(vasp):
    row, folder, labels = vasp
    write_vasprun(folder, row.atoms[[0, 2, 1, 3]], labels, n_electronic=40, limit=40)
    assert_fault(label_rows(folder.parent, [row]), Code.CALCULATION_UNCONVERGED, str(folder), 'NELM = 40')
    path = folder / 'vasprun.xml'
    path.write_text(path.read_text()[:-200])
    assert_fault(label_rows(folder.parent, [row]), Code.CALCULATION_INCOMPLETE, str(folder), 'vasprun.xml')
    path.unlink()
    assert_fault(label_rows(folder.parent, [row]), Code.CALCULATION_MISSING, str(folder), 'vasprun.xml')


def assert_fault(result, code, *values):
    """Assert that exactly one row has no labels, and that the reason has this code and these values."""
    (fault,) = result.faults
    with refused(code, *values):
        raise fault


def keep_half(text):
    return text[: len(text) // 2]


@pytest.mark.parametrize(
    ('spoil', 'code', 'value'),
    [
        (lambda folder: (folder / 'pw.out').unlink(), Code.CALCULATION_MISSING, 'pw.out'),
        (
            lambda folder: (folder / 'pw.out').write_text(keep_half((PW / 'crystal.out').read_text())),
            Code.CALCULATION_INCOMPLETE,
            'pw.out',
        ),
        (lambda folder: shutil.copy(PW / 'unconverged.out', folder / 'pw.out'), Code.CALCULATION_UNCONVERGED, ''),
        (lambda folder: shutil.copy(PW / 'layer.out', folder / 'pw.out'), Code.CALCULATION_MISMATCH, ' Å'),
        (lambda folder: shutil.rmtree(folder), Code.CALCULATION_MISSING, 'step 10 of seed-abc0'),
    ],
)
def test_a_row_without_a_valid_calculation_is_reported(calculated, rows, spoil, code, value):
    spoil(calculated / 'seed-abc0_10')
    result = label_rows(calculated, rows)
    assert len(result.rows) == 1
    assert_fault(result, code, 'seed-abc0', value)


def test_a_calculation_of_a_different_composition_is_reported(calculated, rows):
    rows[0].atoms.symbols[1] = 'Cu'
    folder = str(calculated / 'seed-abc0_10')
    assert_fault(label_rows(calculated, rows), Code.CALCULATION_MISMATCH, folder, 'Al2', 'AlCu')


def test_calculations_that_do_not_belong_to_the_rows_are_refused(calculated, rows, tmp_path):
    with refused(Code.CALCULATION_MISMATCH, 'seed-abc1_10', 'step 10 of seed-abc1'):
        label_rows(calculated, rows[:1])
    shutil.copytree(calculated / 'seed-abc0_10', calculated / 'again')
    with refused(Code.CALCULATION_TWICE, 'again', 'seed-abc0_10', 'step 10 of seed-abc0'):
        label_rows(calculated, rows)
    (calculated / 'again' / 'row.json').write_text('{}')
    with refused(Code.FILE_UNREADABLE, str(calculated / 'again' / 'row.json')):
        label_rows(calculated, rows)
    (tmp_path / 'empty').mkdir()
    with refused(Code.CALCULATION_MISSING, str(tmp_path / 'empty'), 'row.json'):
        label_rows(tmp_path / 'empty', rows)
    with refused(Code.FOLDER_MISSING, str(tmp_path / 'none')):
        label_rows(tmp_path / 'none', rows)


@pytest.mark.parametrize(
    ('settings', 'code', 'values'),
    [
        (VASP | {'code': 'abinit'}, Code.CHOICE_UNKNOWN, ['code', 'quantum-espresso, vasp', 'abinit']),
        (VASP | {'label_source': 'pbe'}, Code.WRONG_PATTERN, ['label_source: ', 'dft:']),
        (VASP | {'incar': {'NSW': 5}}, Code.VALUE_INVALID, ['incar', 'NSW', '0']),
        ({k: v for k, v in ESPRESSO.items() if k != 'ecutwfc_Ry'}, Code.VALUE_MISSING, ['ecutwfc_Ry: ']),
        (
            ESPRESSO | {'input': {'control': {'calculation': 'relax'}}},
            Code.VALUE_INVALID,
            ['input', 'control.calculation', 'scf'],
        ),
    ],
)
def test_invalid_settings_are_refused(settings, code, values):
    with refused(code, 'dft.yaml', *values):
        make_code(settings, 'dft.yaml')


def test_no_folder_remains_if_inputs_cannot_be_written(rows, tmp_path):
    code = make_code(ESPRESSO | {'pseudopotentials': {'Cu': 'Cu.UPF'}}, 'x')
    for bad, error, values in (
        (rows, Code.VALUE_MISSING, ['seed-abc0_10: pseudopotentials: ', 'Al']),
        ([], Code.DATASET_EMPTY, []),
        ([rows[0], rows[0]], Code.FRAME_TWICE, ['step 10 of seed-abc0']),
        ([replace(rows[0], key_value_pairs={})], Code.ROW_KEY_MISSING, ['row 0', 'seed']),
    ):
        with refused(error, *values):
            write_dft_inputs(tmp_path / 'runs', bad, code)
    assert not list(tmp_path.iterdir())
    (tmp_path / 'runs').mkdir()
    with refused(Code.FOLDER_EXISTS, str(tmp_path / 'runs')):
        write_dft_inputs(tmp_path / 'runs', rows, code)


def test_rows_and_isolated_atoms_are_read_together(rows, tmp_path):
    folders = write_dft_inputs(tmp_path / 'runs', rows, make_code(ESPRESSO, 'x'), isolated_atoms='add')
    for folder, output in zip(folders, ('pw/crystal.out', 'pw/layer.out', 'pw_atom/atom.out'), strict=True):
        shutil.copy(PW.parent / output, folder / 'pw.out')
    result = label_rows(tmp_path / 'runs', rows)
    assert result.faults == ()
    assert [row.data['isolated_atoms'] for row in result.rows] == [{'Al': pytest.approx(-52.8383635, abs=1e-6)}] * 2
    # A crystal of aluminium is bound by about 4 eV per atom in this approximation.
    cohesive = result.rows[0].data['isolated_atoms']['Al'] - result.rows[0].labels['energy'] / 2
    assert cohesive == pytest.approx(3.9, abs=0.2)


def request(folder, **settings):
    """Change what the inputs in a folder request."""
    about = json.loads((folder / 'row.json').read_text())
    about['requested'] |= settings
    (folder / 'row.json').write_text(json.dumps(about))


def labelled_at(row, folder, labels, cutoff_eV):
    request(folder, ENCUT=cutoff_eV)
    order = json.loads((folder / 'row.json').read_text())['order']
    write_vasprun(folder, row.atoms[order], labels | {'forces': labels['forces'][order]}, cutoff_eV=cutoff_eV)
    return label_rows(folder, [row]).rows


def test_dft_datasets_with_different_cutoffs_are_not_merged(vasp, tmp_path):
    row, folder, labels = vasp
    paths = []
    for cutoff_eV in (400, 520):
        paths.append(tmp_path / f'{cutoff_eV}.db')
        export_dataset(paths[-1], labelled_at(row, folder, labels, cutoff_eV))
    with refused(Code.LEVELS_MIXED, 'cutoff_eV: 400 and 520', 'dft:vasp:pbe'):
        merge_datasets(paths, tmp_path / 'all.db')


def test_calculations_of_one_dataset_with_different_cutoffs_are_refused(row_of, vasp, tmp_path):
    _, _, labels = vasp
    rows = [row_of(alloy(), name) for name in ('abc3', 'abc4')]
    folders = write_dft_inputs(tmp_path / 'two', rows, make_code(VASP, 'x'))
    for row, folder, cutoff_eV in zip(rows, folders, (400, 520), strict=True):
        request(folder, ENCUT=cutoff_eV)
        order = json.loads((folder / 'row.json').read_text())['order']
        write_vasprun(folder, row.atoms[order], labels, cutoff_eV=cutoff_eV)
    with refused(Code.LEVELS_MIXED, 'seed-abc4_10', 'cutoff_eV: 400 and 520'):
        label_rows(tmp_path / 'two', rows)


def test_labels_of_all_levels_are_kept_when_a_row_is_labelled_again_under_the_same_name(vasp):
    row, folder, labels = vasp
    (first,) = labelled_at(row, folder, labels, 400)
    (second,) = labelled_at(first, folder, labels | {'energy': -16.0}, 520)
    (third,) = labelled_at(second, folder, labels | {'energy': -17.0}, 600)
    before = third.data['labels_before']
    assert [before[name]['energy'] for name in before] == [row.labels['energy'], first.labels['energy'], -16.0]
    assert [before[name]['level']['parameters'].get('cutoff_eV') for name in before] == [None, 400, 520]


def test_calculations_of_the_same_seed_explored_twice_are_told_apart(row_of, tmp_path):
    rows = [row_of(crystal(), 'abc5'), row_of(crystal(), 'abc5')]
    rows[1] = replace(rows[1], key_value_pairs=rows[1].key_value_pairs | {'exploration': 'b' * 36})
    names = [folder.name for folder in write_dft_inputs(tmp_path / 'runs2', rows, make_code(VASP, 'x'))]
    assert names == ['seed-abc5_10_6a2f41a3', 'seed-abc5_10_bbbbbbbb']
    with refused(Code.FRAME_TWICE, 'seed-abc5'):
        write_dft_inputs(tmp_path / 'runs3', [rows[0], rows[0]], make_code(VASP, 'x'))


def test_calculations_with_different_spacings_of_the_k_points_are_refused(calculated, rows):
    about = calculated / 'seed-abc1_10' / 'row.json'
    content = json.loads(about.read_text())
    content['settings']['kspacing_per_A'] = 0.3
    about.write_text(json.dumps(content))
    with refused(Code.LEVELS_MIXED, 'kspacing_per_A: 0.6 and 0.3'):
        label_rows(calculated, rows)
