"""The settings of Quantum ESPRESSO and its pseudopotentials, and the level of theory."""

import pytest
from pydantic import TypeAdapter, ValidationError

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import code_of
from aiida_mlip_autopipe.labelling import LABELLERS
from aiida_mlip_autopipe.labelling.labellers.espresso import VERSION
from aiida_mlip_autopipe.labelling.pseudopotentials import read_pseudopotential, refuse_missing

SECTIONS = TypeAdapter(LABELLERS.settings_union())
VERSIONS = {VERSION: '6.7MaX', 'Si': 'a' * 64}
UPF_1 = ' Si  Element\n 4.00000  Z valence\n SLA PW PBE PBE  PBE Exchange-Correlation functional\n'
UPF_2 = '<PP_HEADER element=" {}" z_valence=" 4.0e0" functional="{}" pseudo_type="NC"/>'


def write(folder, name='Si.UPF', text=None, symbol='Si', functional=' SLA  PW   PBX  PBC '):
    path = folder / name
    path.write_text(text or UPF_2.format(symbol, functional))
    return path


def section(folder=None, **fields):
    given = {'pseudopotential_family': 'SSSP'} if 'pseudopotentials' not in fields else {}
    context = folder and {'folder': folder}
    fields = {'kind': 'espresso', 'plane_wave_cutoff_eV': 400.0, **given, **fields}
    return SECTIONS.validate_python(fields, context=context)


def codes(refused):
    return {code_of(details) for details in refused.value.errors()}


def level(versions=VERSIONS, **fields):
    return LABELLERS.make(section(**fields)).level(versions)


def test_the_level_contains_the_version_the_pseudopotentials_and_the_settings_that_change_labels():
    first = level()
    assert (first.method, first.code, first.name) == ('dft', 'quantum-espresso', 'dft:quantum-espresso:pbe')
    assert first.parameters['version'] == '6.7MaX'
    assert first.parameters['potentials'] == {'Si': 'a' * 64}
    assert first.hash == level(max_scf_steps=3, mixing_beta=0.1, time_limit_s=5, code='pw@localhost').hash
    others = [
        level({**VERSIONS, VERSION: '7.2'}),
        level({**VERSIONS, 'Si': 'b' * 64}),
        level(plane_wave_cutoff_eV=401.0),
        level(energy='extrapolated'),
        level(spin_polarized=True),
    ]
    assert len({first.hash, *(one.hash for one in others)}) == 6


def test_values_that_are_the_defaults_give_the_same_level():
    assert level().hash == level(density_cutoff_eV=3200.0, spin_polarized=False, charge=0.0).hash


@pytest.mark.parametrize(
    ('fields', 'code'),
    [
        ({'initial_magnetic_moments': {'Fe': 2.0}}, Code.VALUES_INCOMPLETE),
        ({'dispersion': True, 'functional': 'LDA'}, Code.VALUES_EXCLUDE),
        ({'hubbard_U_eV': {'Fe': {'d': 4.0, 'p': 1.0}}}, Code.WRONG_LENGTH),
        ({'structures_per_job': 5}, Code.CHOICE_UNKNOWN),
        ({'pseudopotentials': {}}, Code.VALUES_EXCLUDE),
        ({'pseudopotentials': {'Si': 'Si.UPF'}, 'pseudopotential_family': 'SSSP'}, Code.VALUES_EXCLUDE),
    ],
)
def test_values_that_do_not_fit_together_are_refused(fields, code):
    with pytest.raises(ValidationError) as refused:
        section(**fields)
    assert codes(refused) == {code}


def test_a_folder_is_replaced_by_the_file_of_each_element(tmp_path):
    folder = tmp_path / 'pseudo'
    folder.mkdir()
    files = {'Si': write(folder, 'silicon.upf'), 'O': write(folder, 'oxygen.UPF', symbol='O')}
    assert section(tmp_path, pseudopotentials='pseudo').pseudopotentials == files


@pytest.mark.parametrize(('names', 'code'), [(['a.UPF', 'b.UPF'], Code.SETTINGS_REFUSED), ([], Code.FILE_MISSING)])
def test_a_folder_with_two_files_for_an_element_or_without_any_is_refused(tmp_path, names, code):
    for name in names:
        write(tmp_path, name)
    with pytest.raises(ValidationError) as refused:
        section(tmp_path, pseudopotentials='.')
    assert codes(refused) == {code}
    with pytest.raises(ValidationError) as refused:
        section(tmp_path, pseudopotentials='missing')
    assert codes(refused) == {Code.FOLDER_MISSING}


def test_a_file_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValidationError) as refused:
        section(tmp_path, pseudopotentials={'Si': 'Si.UPF'})
    assert codes(refused) == {Code.FILE_MISSING}


@pytest.mark.parametrize('text', [UPF_1, UPF_2.format('Si', 'PBE'), UPF_2.format('Si', 'sla-pw-pbx-pbc')])
def test_both_versions_of_the_format_are_read(tmp_path, text):
    found = read_pseudopotential(write(tmp_path, text=text))
    assert (found.element, found.z_valence) == ('Si', 4.0)
    assert found.has_functional('PBE')
    assert not found.has_functional('PBEsol')


@pytest.mark.parametrize('text', ['no header', UPF_2.format('X', 'PBE')])
def test_another_format_is_refused(tmp_path, text):
    with pytest.raises(AutopipeError) as refused:
        read_pseudopotential(write(tmp_path, text=text))
    assert refused.value.code == Code.FILE_UNREADABLE


def test_a_pseudopotential_of_another_element_or_functional_is_refused(tmp_path):
    settings, path = section(), write(tmp_path)
    settings.refuse_unsuitable('Si', path)
    for wrong, symbol in ((settings, 'O'), (section(functional='PBEsol'), 'Si')):
        with pytest.raises(AutopipeError) as refused:
            wrong.refuse_unsuitable(symbol, path)
        assert refused.value.code == Code.SETTINGS_REFUSED


def test_an_element_without_a_pseudopotential_is_refused():
    refuse_missing(['Si', 'O'], ['Si'])
    with pytest.raises(AutopipeError) as refused:
        refuse_missing(['Si'], ['Si', 'O'])
    assert refused.value.code == Code.ELEMENT_UNSUPPORTED
    assert 'O' in str(refused.value)
