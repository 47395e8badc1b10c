import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.vasp import write_vasp
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import make_row
from aiida_mlip_autopipe.storage.dft import write_dft_inputs
from aiida_mlip_autopipe.storage.dft.inputs import make_code

VASP = {'code': 'vasp', 'label_source': 'dft:vasp:pbe', 'incar': {'ENCUT': 520}}
ESPRESSO = {
    'code': 'quantum-espresso',
    'label_source': 'dft:quantum-espresso:pbe',
    'ecutwfc_Ry': 60,
    'pseudopotentials': {symbol: f'{symbol}.UPF' for symbol in ('Al', 'Fe', 'Co', 'O')},
}


def vasp(**incar):
    return VASP | {'incar': VASP['incar'] | incar}


def espresso(**system):
    return ESPRESSO | {'input': {'system': system}}


@pytest.fixture
def write(make_provenance, tmp_path):
    """Return a function that writes the inputs of structures and returns their folders."""

    def make(settings, *structures):
        rows = []
        for step, atoms in enumerate(structures):
            atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((len(atoms), 3)))
            rows.append(make_row(atoms, make_provenance(step=step), {'kind': 'alloy'}))
        return write_dft_inputs(tmp_path / 'runs', rows, make_code(settings, 'dft.yaml'))

    return make


def plain(symbol):
    """Return a crystal without magnetic moments."""
    return Atoms(symbol, cell=[[0, 2, 2], [2, 0, 2], [2, 2, 0]], pbc=True)


def moving():
    atoms = bulk('NaCl', 'rocksalt', a=5.6)
    atoms.set_momenta([[1.0, 0.0, -0.5], [-1.0, 0.0, 0.5]])
    return atoms


@pytest.mark.parametrize(
    'atoms',
    [
        plain('Al'),
        Atoms('UC2', positions=[[0, 0, 0], [-7.3, 0.1, 2e-17], [1 / 3, 25.0, -0.0]], cell=[5, 5, 6], pbc=True),
        bulk('Al', cubic=True) * (7, 6, 6),
        moving(),
    ],
    ids=['one atom', 'atoms outside the cell', '1008 atoms', 'velocities'],
)
def test_the_poscar_has_the_bytes_that_ase_writes(write, tmp_path, atoms):
    (folder,) = write(vasp(ISPIN=1), atoms)
    write_vasp(tmp_path / 'POSCAR', atoms, direct=True, sort=False, vasp5=True)
    assert (folder / 'POSCAR').read_bytes() == (tmp_path / 'POSCAR').read_bytes()


def incar_of(folder):
    return dict(line.split(' = ') for line in (folder / 'INCAR').read_text().splitlines())


@pytest.mark.parametrize(
    ('incar', 'code', 'values'),
    [
        ({'PSTRESS': 100}, Code.VALUE_INVALID, ['PSTRESS']),
        ({'ISIF': 0}, Code.OUT_OF_RANGE, ['ISIF', '2', '0']),
        ({'isif': 1}, Code.OUT_OF_RANGE, ['ISIF', '2', '1']),
        ({'IBRION': 2}, Code.VALUE_INVALID, ['IBRION', '-1', '2']),
        ({'EFIELD': 0.1}, Code.VALUE_INVALID, ['EFIELD']),
        ({'NELECT': 30}, Code.VALUE_INVALID, ['NELECT']),
        ({'MAGMOM': '4*1.0'}, Code.VALUE_INVALID, ['MAGMOM', 'initial_magnetic_moments']),
        ({'KSPACING': 0.2}, Code.VALUE_INVALID, ['KSPACING', 'kspacing_per_A']),
        ({'ICHARG': 11}, Code.OUT_OF_RANGE, ['ICHARG', '10', '11']),
        ({'ALGO': 'Eigenval'}, Code.CHOICE_UNKNOWN, ['ALGO', 'normal', 'Eigenval']),
        ({'ML_LMLFF': True}, Code.VALUE_INVALID, ['ML_LMLFF']),
        ({'ENCUTT': 400}, Code.KEY_UNKNOWN, ['ENCUTT', 'ENCUT?']),
        ({'encut': 400}, Code.VALUES_EXCLUDE, ['incar']),
        ({'LASPH': 'maybe'}, Code.TYPE_WRONG, ['LASPH', 'maybe']),
        ({'ISPIN': True}, Code.TYPE_WRONG, ['ISPIN', 'True']),
        ({'ISMEAR': 0.5}, Code.TYPE_WRONG, ['ISMEAR', '0.5']),
        ({'SIGMA': 'small'}, Code.TYPE_WRONG, ['SIGMA', 'small']),
        ({'LDAUU': [5.3, 0]}, Code.TYPE_WRONG, ['LDAUU', '[5.3, 0]']),
    ],
)
def test_tags_that_are_unknown_or_would_change_the_labels_are_refused(incar, code, values):
    with refused(code, 'dft.yaml', 'incar', *values):
        make_code(vasp(**incar), 'dft.yaml')


def test_the_cutoff_of_vasp_is_required():
    with refused(Code.VALUE_MISSING, 'dft.yaml', 'incar', 'ENCUT'):
        make_code(VASP | {'incar': {}}, 'dft.yaml')
    with refused(Code.VALUE_MISSING, 'dft.yaml', 'incar', 'ENCUT'):
        make_code({key: VASP[key] for key in ('code', 'label_source')}, 'dft.yaml')


def test_words_of_yaml_are_written_as_fortran_logicals(write):
    words = {'LASPH': 'yes', 'LHFCALC': True, 'ADDGRID': 'off', 'LSOL': 'No', 'LREAL': 'Auto', 'EDIFF': '1e-7'}
    (folder,) = write(vasp(**words), bulk('Al'))
    expected = {'LASPH': '.TRUE.', 'LHFCALC': '.TRUE.', 'ADDGRID': '.FALSE.', 'LSOL': '.FALSE.', 'LWAVE': '.FALSE.'}
    assert incar_of(folder) == incar_of(folder) | expected | {'LREAL': 'Auto', 'EDIFF': '1e-07', 'NSW': '0'}


def test_values_by_element_are_in_the_order_of_the_elements_of_each_row(write):
    tags = {'LDAU': True, 'LDAUU': {'Fe': 5.3}, 'LDAUL': {'Fe': 2}, 'ISPIN': 1}
    orders = [Atoms(symbols, positions=[[0, 0, 0], [2, 2, 2]], cell=[4, 4, 4], pbc=True) for symbols in ('FeO', 'OFe')]
    first, second = (incar_of(folder) for folder in write(vasp(**tags), *orders))
    assert (first['LDAUU'], first['LDAUL']) == ('5.3 0.0', '2 -1')
    assert (second['LDAUU'], second['LDAUL']) == ('0.0 5.3', '-1 2')


@pytest.mark.parametrize(
    ('entries', 'code', 'values'),
    [
        ({'system': {'ecutrh': 400}}, Code.KEY_UNKNOWN, ['system.ecutrh', 'ecutrho?']),
        ({'system': {'starting_magnetization(1)': 0.5}}, Code.VALUE_INVALID, ['initial_magnetic_moments']),
        ({'system': {'Hubbard_U(1)': 5}}, Code.VALUE_INVALID, ['system.hubbard_u(1)', 'hubbard_u: {Fe: 5}']),
        ({'system': {'tot_charge': 1}}, Code.VALUE_INVALID, ['system.tot_charge']),
        ({'system': {'ecutwfc': 30}}, Code.VALUE_INVALID, ['system.ecutwfc', 'ecutwfc_Ry']),
        ({'control': {'tefield': True}}, Code.VALUE_INVALID, ['control.tefield']),
        ({'control': {'tstress': 'no'}}, Code.VALUE_INVALID, ['control.tstress', 'True']),
        ({'electrons': {'scf_must_converge': False}}, Code.VALUE_INVALID, ['electrons.scf_must_converge', 'True']),
    ],
)
def test_entries_of_pw_that_are_unknown_or_would_change_the_labels_are_refused(entries, code, values):
    with refused(code, 'dft.yaml', 'input', *values):
        make_code(ESPRESSO | {'input': entries}, 'dft.yaml')


def test_words_of_yaml_and_values_by_element_are_written_for_pw(write):
    oxide = Atoms('OFe', positions=[[0, 0, 0], [2, 2, 2]], cell=[4, 4, 4], pbc=True)
    (folder,) = write(espresso(nosym='yes', Hubbard_U={'Fe': 5.3}, lda_plus_u=True, nspin=1), oxide)
    text = ' '.join((folder / 'pw.in').read_text().split())
    for entry in ('nosym = .true.', 'hubbard_u(2) = 5.3'):
        assert entry in text


@pytest.mark.parametrize('settings', [vasp(), espresso()])
def test_magnetic_elements_need_moments_or_an_explicit_choice(write, settings):
    key = 'ISPIN: 1' if settings['code'] == 'vasp' else 'input.system.nspin: 1'
    with refused(Code.VALUES_INCOMPLETE, '_0: Fe ', 'initial_magnetic_moments', key):
        write(settings, plain('Fe'))
    with refused(Code.VALUES_INCOMPLETE, 'Co ', 'initial_magnetic_moments'):
        write(settings | {'initial_magnetic_moments': {'Fe': 2.5}}, plain('Co'))


def test_pw_without_moments_would_find_a_nonmagnetic_solution_but_vasp_has_defaults(write):
    with refused(Code.VALUES_INCOMPLETE, 'Fe', 'initial_magnetic_moments'):
        write(espresso(nspin=2), plain('Fe'))
    (folder,) = write(vasp(ISPIN=2), plain('Fe'))
    assert incar_of(folder)['ISPIN'] == '2'
    assert 'MAGMOM' not in incar_of(folder)


@pytest.mark.parametrize('settings', [vasp(ISPIN=1), espresso(nspin=1)])
def test_calculations_without_spin_need_an_explicit_choice_and_have_no_moments(write, settings):
    atoms = plain('Fe')
    atoms.set_initial_magnetic_moments([2.0])
    (folder,) = write(settings, atoms)
    text = (folder / ('INCAR' if settings['code'] == 'vasp' else 'pw.in')).read_text()
    assert 'MAGMOM' not in text
    assert 'starting_magnetization' not in text
    with refused(Code.VALUES_EXCLUDE, 'initial_magnetic_moments'):
        make_code(settings | {'initial_magnetic_moments': {'Fe': 2.5}}, 'x')


def test_moments_by_element_make_all_rows_spin_polarised(write):
    settings = vasp() | {'initial_magnetic_moments': {'Fe': 2.5}}
    iron, aluminium = (incar_of(folder) for folder in write(settings, plain('Fe'), bulk('Al')))
    assert (iron['ISPIN'], iron['MAGMOM']) == ('2', '1*2.5')
    assert (aluminium['ISPIN'], aluminium['MAGMOM']) == ('2', '1*0.0')


@pytest.mark.parametrize('settings', [vasp(), espresso()])
def test_moments_of_one_structure_make_all_rows_spin_polarised(write, settings):
    atoms = plain('Fe')
    atoms.set_initial_magnetic_moments([2.0])
    folders = write(settings, atoms, bulk('Al'))
    spins = [json.loads((folder / 'row.json').read_text())['requested'] for folder in folders]
    key, value = ('ISPIN', 2) if settings['code'] == 'vasp' else ('spin', 'collinear')
    assert [spin[key] for spin in spins] == [value, value]


def test_moments_of_a_noncollinear_calculation_have_three_components(write):
    settings = vasp(LSORBIT='yes') | {'initial_magnetic_moments': {'Fe': 2.5}}
    (folder,) = write(settings, plain('Fe'))
    assert incar_of(folder)['MAGMOM'] == '2*0.0 1*2.5'


@pytest.mark.parametrize('settings', [vasp(), ESPRESSO])
def test_there_is_one_k_point_along_vacuum(write, settings):
    slab = fcc111('Al', (1, 1, 3), vacuum=6, periodic=True)
    molecule = Atoms('O2', positions=[[0, 0, 0], [0, 0, 1.2]], cell=[8, 8, 9], pbc=True)
    folders = write(settings, slab, molecule, bulk('Al'))
    meshes = [json.loads((folder / 'row.json').read_text())['requested']['k_points'] for folder in folders]
    assert meshes[0][:2] == [13, 13]
    assert [meshes[0][2], meshes[1]] == [1, [1, 1, 1]]
    assert min(meshes[2]) > 1
    name, line = ('KPOINTS', 3) if settings['code'] == 'vasp' else ('pw.in', None)
    text = (folders[0] / name).read_text()
    assert '13 13 1' in (text if line is None else text.splitlines()[line])


def test_a_dipole_correction_needs_vacuum_along_its_direction(write):
    slab = fcc111('Al', (1, 1, 3), vacuum=6, periodic=True)
    with refused(Code.VALUE_INVALID, '_1: ', 'IDIPOL', '3'):
        write(vasp(LDIPOL=True, IDIPOL=3), slab, bulk('Al'))
    (folder,) = write(vasp(LDIPOL=True, IDIPOL=3), slab)
    assert incar_of(folder)['IDIPOL'] == '3'
