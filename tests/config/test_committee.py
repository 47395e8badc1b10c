import pytest
from support.errors import refused

from aiida_mlip_autopipe.config import validate_config
from aiida_mlip_autopipe.core.codes import Code

BASE = {'name': 'a', 'generation': [{'kind': 'alloy', 'lattice': 'fcc', 'composition': {'Cu': 1.0}}]}
PLACE = 'exploration.committee.calculator'


def config(committee, tmp_path, **sections):
    return validate_config({**BASE, 'exploration': {'committee': committee}, **sections}, tmp_path)


def test_a_committee_is_part_of_the_exploration(tmp_path):
    made = config({'calculator': {'kind': 'chgnet'}}, tmp_path)
    assert made.exploration.committee.calculator.kind == 'chgnet'
    assert made.exploration.committee.code is None


@pytest.mark.parametrize(
    ('committee', 'sections', 'code', 'values'),
    [
        ({'calculator': {'kind': 'sevennet'}}, {}, Code.VALUE_INVALID, (f'{PLACE}: ', 'sevennet')),
        (
            {'calculator': {'kind': 'emt'}},
            {'generation': [{**BASE['generation'][0], 'composition': {'W': 1.0}}]},
            Code.ELEMENT_UNSUPPORTED,
            ('generation[0]: ', 'W', 'emt'),
        ),
        (
            {'calculator': {'kind': 'sevennet', 'model': '7net-1'}},
            {},
            Code.MODEL_NOT_LOADED,
            (f'{PLACE}.model: ', "'7net-1'"),
        ),
        ({'calculater': {'kind': 'emt'}}, {}, Code.KEY_UNKNOWN, ('exploration.committee.calculater: ', "'calculator'")),
        ({'code': 'a@b'}, {}, Code.VALUE_MISSING, (f'{PLACE}: ',)),
    ],
)
def test_an_invalid_committee_is_refused_with_its_place(tmp_path, committee, sections, code, values):
    with refused(code, *values):
        config(committee, tmp_path, **sections)


@pytest.mark.parametrize(
    ('sampling', 'path'),
    [
        ({'kind': 'disagreement'}, 'sampling.kind'),
        (
            {'kind': 'mix', 'parts': [{'fraction': 1.0, 'sampler': {'kind': 'disagreement'}}]},
            'sampling.parts[0].sampler.kind',
        ),
    ],
)
def test_a_selection_by_disagreement_requires_a_committee(tmp_path, sampling, path):
    with refused(Code.VALUES_INCOMPLETE, f'{path}: ', "'disagreement'", 'exploration.committee'):
        config(None, tmp_path, sampling=sampling)
    config({'calculator': {'kind': 'chgnet'}}, tmp_path, sampling=sampling)


MEMBERS = {'kind': 'committee', 'members': [{'kind': 'emt'}, {'kind': 'lj'}]}
NOVELTY = {'kind': 'disagreement', 'threshold_eV_per_A': 0.1}


@pytest.mark.parametrize(
    ('sections', 'code', 'place'),
    [
        ({'exploration': {'novelty': NOVELTY}}, Code.CALCULATOR_UNSUITABLE, 'exploration.novelty: '),
        ({'exploration': {'bias': {'strength': 1}}}, Code.CALCULATOR_UNSUITABLE, 'exploration.bias: '),
        (
            {'generation': [{**BASE['generation'][0], 'exploration': {'novelty': NOVELTY}}]},
            Code.CALCULATOR_UNSUITABLE,
            'generation[0].exploration.novelty: ',
        ),
        ({'calculator': MEMBERS}, Code.VALUES_EXCLUDE, 'calculator.kind: '),
        ({'exploration': {'committee': {'calculator': MEMBERS}}}, Code.VALUE_INVALID, f'{PLACE}.kind: '),
    ],
)
def test_disagreement_and_bias_need_a_committee_and_an_unused_committee_is_refused(tmp_path, sections, code, place):
    with refused(code, place):
        validate_config({**BASE, 'calculator': {'kind': 'emt'}, **sections}, tmp_path)
    validate_config({**BASE, 'calculator': MEMBERS, 'exploration': {'novelty': NOVELTY}}, tmp_path)


def test_a_missing_model_of_a_member_is_refused_with_its_place(tmp_path):
    members = {'kind': 'committee', 'members': [{'kind': 'emt'}, {'kind': 'sevennet', 'model': '7net-1'}]}
    with refused(Code.MODEL_NOT_LOADED, 'calculator.members[1].model: ', "'7net-1'"):
        validate_config({**BASE, 'calculator': members, 'exploration': {'novelty': NOVELTY}}, tmp_path)
    members['members'][1]['model'] = './missing.pth'
    with refused(Code.FILE_MISSING, 'calculator.members[1].model: '):
        validate_config({**BASE, 'calculator': members, 'exploration': {'novelty': NOVELTY}}, tmp_path)
