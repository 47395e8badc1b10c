import json
import shutil
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import make_row
from aiida_mlip_autopipe.storage.dft import label_rows, write_dft_inputs
from aiida_mlip_autopipe.storage.dft.inputs import make_code

# Output of pw.x 6.7 for an aluminium atom: 12 Ry, Al.pz-vbc.UPF; and for a crystal with the same settings.
PW = Path(__file__).parent / 'pw'
ATOM = Path(__file__).parent / 'pw_atom' / 'atom.out'
ENERGY = -52.8383635
ESPRESSO = {
    'code': 'quantum-espresso',
    'label_source': 'dft:quantum-espresso:lda',
    'ecutwfc_Ry': 12,
    'kspacing_per_A': 0.6,
    'pseudopotentials': {'Al': 'Al.pz-vbc.UPF', 'Mg': 'Mg.UPF'},
    'initial_magnetic_moments': {'Al': 0.1},
    'input': {'system': {'degauss': 0.03, 'nspin': 2}},
}
VASP = {'code': 'vasp', 'label_source': 'dft:vasp:pbe', 'incar': {'ENCUT': 520, 'SIGMA': 0.2}}


@pytest.fixture
def rows(make_provenance):
    atoms = bulk('Al')
    atoms.calc = EMT()
    results = {name: atoms.calc.get_property(name, atoms) for name in ('energy', 'forces', 'stress')}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return [make_row(atoms, make_provenance(step=step), {'kind': 'alloy'}, {'Al': 3.28}) for step in range(2)]


def atom_row(make_provenance, symbol):
    atoms = Atoms([symbol], cell=[9, 9, 9], pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=[[0.0, 0.0, 0.0]], stress=[0.0] * 6)
    return make_row(atoms, make_provenance(step=9), {'kind': 'alloy'})


def labelled_at(row, label_source):
    row.key_value_pairs['label_source'] = label_source
    return row


def test_the_atom_of_pw_has_fixed_occupations_and_the_moment_given_by_hunds_rules(make_provenance, rows, tmp_path):
    rows.append(atom_row(make_provenance, 'Mg'))
    folders = write_dft_inputs(tmp_path / 'runs', rows, make_code(ESPRESSO, 'x'), isolated_atoms='add')
    assert [one.name for one in folders[-2:]] == ['isolated_Mg', 'isolated_Al']
    text = ' '.join((folders[-1] / 'pw.in').read_text().split())
    for entry in ("occupations = 'fixed'", 'tot_magnetization = 1.0', 'nspin = 2', 'nosym = .true.', 'ecutwfc = 12.0'):
        assert entry in text
    for entry in ('degauss', 'smearing', "'0.1'"):
        assert entry not in text
    assert 'K_POINTS gamma' in text
    lengths = [line.split()[place] for place, line in enumerate(text.split('CELL_PARAMETERS angstrom ')[1:])]
    assert lengths == ['14.00000000000000']
    # A closed shell needs no spin.
    assert 'nspin' not in (folders[-2] / 'pw.in').read_text()


def test_the_atom_of_vasp_has_integer_occupations_and_keeps_the_functional_and_cutoff(make_provenance, tmp_path):
    rows = [atom_row(make_provenance, 'Fe')]
    (folder,) = write_dft_inputs(tmp_path / 'runs', rows, make_code(VASP, 'x'), isolated_atoms='only')
    incar = dict(line.split(' = ') for line in (folder / 'INCAR').read_text().splitlines() if line)
    expected = {'ENCUT': '520.0', 'ISPIN': '2', 'MAGMOM': '1*4.0', 'NUPDOWN': '4.0', 'ISMEAR': '0', 'SIGMA': '0.01'}
    assert incar | expected == incar
    assert (folder / 'KPOINTS').read_text().splitlines()[2:4] == ['Gamma', '1 1 1']
    assert (folder / 'POTCAR.spec').read_text() == 'Fe\n'
    assert [path.name for path in (tmp_path / 'runs').iterdir()] == ['isolated_Fe']


@pytest.fixture
def atoms_only(rows, tmp_path):
    """Return a folder with a finished calculation of an isolated atom."""
    (folder,) = write_dft_inputs(tmp_path / 'atoms', rows, make_code(ESPRESSO, 'x'), isolated_atoms='only')
    shutil.copy(ATOM, folder / 'pw.out')
    return folder.parent


def test_energies_of_isolated_atoms_are_added_to_rows_that_are_already_labelled(rows, atoms_only):
    labelled = [labelled_at(row, ESPRESSO['label_source']) for row in rows]
    result = label_rows(atoms_only, labelled)
    assert result.faults == ()
    for row, before in zip(result.rows, labelled, strict=True):
        assert row.data['isolated_atoms'] == {'Al': pytest.approx(ENERGY, abs=1e-6)}
        assert row.labels['energy'] == before.labels['energy']


def test_an_isolated_atom_without_a_result_is_a_fault(rows, tmp_path):
    code = make_code(ESPRESSO, 'x')
    *_, atom = write_dft_inputs(tmp_path / 'runs', rows, code, isolated_atoms='add')
    result = label_rows(tmp_path / 'runs', rows)
    assert [fault.code for fault in result.faults] == [Code.CALCULATION_MISSING] * 3
    assert str(atom) in str(result.faults[-1])


def test_isolated_atoms_at_another_level_are_refused(rows, atoms_only):
    with refused(Code.LEVELS_MIXED, 'label_source', 'dft:quantum-espresso:lda', 'mlip:emt'):
        label_rows(atoms_only, rows)
    labelled = [labelled_at(row, ESPRESSO['label_source']) for row in rows]
    labelled[1].data['dft_settings'] = 'other'
    with refused(Code.LEVELS_MIXED, 'dft_settings', 'other'):
        label_rows(atoms_only, labelled)


def test_isolated_atoms_with_different_settings_or_listed_twice_are_refused(rows, atoms_only):
    second = atoms_only / 'more'
    shutil.copytree(atoms_only / 'isolated_Al', second)
    with refused(Code.CALCULATION_TWICE, 'isolated_Al', 'more', 'Al'):
        label_rows(atoms_only, rows)
    about = json.loads((second / 'atom.json').read_text())
    (second / 'atom.json').write_text(json.dumps(about | {'element': 'Mg', 'dft_settings': 'other'}))
    with refused(Code.LEVELS_MIXED, 'dft_settings', 'other'):
        label_rows(atoms_only, rows)
    (second / 'atom.json').write_text('{}')
    with refused(Code.FILE_UNREADABLE, 'atom.json'):
        label_rows(atoms_only, rows)


def test_the_output_of_another_structure_is_not_an_isolated_atom(rows, atoms_only):
    shutil.copy(PW / 'crystal.out', atoms_only / 'isolated_Al' / 'pw.out')
    labelled = [labelled_at(row, ESPRESSO['label_source']) for row in rows]
    (fault,) = label_rows(atoms_only, labelled).faults
    assert (fault.code, 'Al2' in str(fault)) == (Code.CALCULATION_MISMATCH, True)


def test_the_hubbard_correction_of_an_element_applies_to_its_isolated_atom(make_provenance, tmp_path):
    settings = VASP | {'incar': VASP['incar'] | {'LDAU': True, 'LDAUU': {'Fe': 5.3}, 'LDAUL': {'Fe': 2}}}
    rows = [atom_row(make_provenance, symbol) for symbol in ('Fe', 'O')]
    folders = write_dft_inputs(tmp_path / 'runs', rows, make_code(settings, 'x'), isolated_atoms='only')
    texts = {one.name: (one / 'INCAR').read_text() for one in folders}
    assert 'LDAUU = 5.3\n' in texts['isolated_Fe']
    assert 'LDAUL = -1\n' in texts['isolated_O']
