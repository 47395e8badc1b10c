import re

import pytest
from ase.build import bulk
from ase.calculators.emt import parameters
from ase.io import write as write_atoms
from support.errors import refused

from aiida_mlip_autopipe.config import validate_config
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import ConfigError
from aiida_mlip_autopipe.exploration import CALCULATORS

ALLOY = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}}
IRON = {'kind': 'alloy', 'composition': {'Fe': 0.5, 'Cu': 0.3, 'W': 0.2}, 'lattice': 'fcc'}


def faults(tmp_path, **sections):
    with pytest.raises(ConfigError) as error:
        validate_config({'name': 'x', 'generation': [ALLOY], **sections}, tmp_path)
    return str(error.value).split('\n')


def test_an_element_that_the_calculator_does_not_know_is_a_fault_of_the_entry(tmp_path):
    assert faults(tmp_path, generation=[ALLOY, IRON], calculator={'kind': 'emt'}) == [
        'generation[1]: got Fe, W; the calculator emt knows Ag, Al, Au, C, Cu, H, N, Ni, O, Pd, Pt only'
    ]
    assert validate_config({'name': 'x', 'generation': [IRON]}, tmp_path).calculator.kind == 'sevennet'


SLAB = {'kind': 'surface', 'of': ALLOY}


@pytest.mark.parametrize(
    ('held', 'line'),
    [
        (['surfaces'], "sampling.held_out_kinds[0]: got 'surfaces'; no seed is of this kind; there are alloy, surface; "
                       "did you mean 'surface'?"),
        (['surface', 'alloy'], 'sampling.held_out_kinds: got surface, alloy; must leave a kind to train on: the seeds '
                               'have no others'),
    ],
)  # fmt: skip
def test_a_kind_to_be_held_out_is_one_of_those_there_are_and_not_all(tmp_path, held, line):
    sampling = {'kind': 'random', 'test_share': 0.1, 'held_out_kinds': held}
    assert faults(tmp_path, generation=[ALLOY, SLAB], sampling=sampling) == [line]
    sampling['held_out_kinds'] = ['surface']
    config = validate_config({'name': 'x', 'generation': [ALLOY, SLAB], 'sampling': sampling}, tmp_path)
    assert config.sampling.held_out_kinds == ('surface',)


def test_kinds_are_held_out_with_a_share_for_testing(tmp_path):
    sampling = {'kind': 'fps', 'held_out_kinds': ['surface']}
    with refused(Code.VALUE_MISSING, 'sampling: ', 'held_out_kinds', 'test_share'):
        validate_config({'name': 'x', 'generation': [ALLOY, SLAB], 'sampling': sampling}, tmp_path)


def test_the_elements_of_structure_files_are_checked_too(tmp_path):
    write_atoms(tmp_path / 'fe.xyz', bulk('Fe'))
    entry = {'kind': 'structures', 'files': ['fe.xyz']}
    (line,) = faults(tmp_path, generation=[entry], calculator={'kind': 'emt'})
    assert line.startswith('generation[0]: got Fe; the calculator emt knows')


def test_the_elements_of_composed_entries_are_checked_too(tmp_path):
    host = {**ALLOY, 'composition': {'Cu': 1.0}}
    slab = {'kind': 'surface', 'of': host}
    entries = [
        slab,
        {'kind': 'adsorption', 'of': slab, 'molecules': ['CO', 'SiH4']},
        {'kind': 'defect', 'of': slab, 'substitutions': {'Cu': {'Zn': 1}}, 'interstitials': {'B': 1}},
        {'kind': 'surface', 'of': {'kind': 'covalent', 'structure': 'diamond', 'sites': {'A': 'Ge'}}},
    ]
    found = [line.split(';')[0] for line in faults(tmp_path, generation=entries, calculator={'kind': 'emt'})]
    assert found == ['generation[1]: got Si', 'generation[2]: got B, Zn', 'generation[3]: got Ge']


def test_the_elements_that_are_known_of_emt_are_those_of_ase():
    assert CALCULATORS.load('emt').known_elements == set(parameters)


@pytest.mark.parametrize(
    ('calculator', 'line'),
    [
        ({'model': '7net-O'}, r"calculator\.model: got '7net-O'; there is no file .*; did you mean '7net-0'\?"),
        ({'model': './my.pth'}, r"calculator\.model: got './my\.pth'; there is no such file in "),
        (
            {'kind': 'mace', 'model': 'my.model'},
            r"calculator\.model: got 'my\.model'; the model file .* does not exist",
        ),
        ({'kind': 'mace', 'model': 'no/my.model'}, r"calculator\.model: got 'no/my\.model'; there is no such file in "),
    ],
)
def test_a_missing_model_is_a_fault(tmp_path, calculator, line):
    (found,) = faults(tmp_path, calculator=calculator)
    assert re.match(line, found)


def test_a_structure_file_that_cannot_be_read_is_a_fault(tmp_path):
    (tmp_path / 'bad.cif').write_text('this is no crystal\n')
    (tmp_path / 'bad.what').write_text('this is no crystal\n')
    entries = [{'kind': 'structures', 'files': [name]} for name in ('bad.cif', 'bad.what')]
    first, second = faults(tmp_path, generation=entries)
    assert first.startswith(f'generation[0]: got kind structures; the structure file {tmp_path}/bad.cif ')
    assert second.startswith(
        f'generation[1]: got kind structures; the structure file {tmp_path}/bad.what cannot be read'
    )


def test_what_is_wrong_between_sections_is_told_with_the_faults_of_others(tmp_path):
    lines = faults(tmp_path, generation=[IRON], calculator={'kind': 'emt'}, exploration={'n_steps': 0}, extra=1)
    assert [line.partition(':')[0] for line in lines] == ['exploration.n_steps', 'extra', 'generation[0]']


def test_a_section_with_a_fault_is_not_compared_with_others(tmp_path):
    (line,) = faults(tmp_path, generation=[IRON], calculator={'kind': 'emt', 'device': 'gpu'})
    assert line.startswith('calculator.device: ')
