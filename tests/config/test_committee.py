import re

import pytest

from aiida_mlip_autopipe.config import validate_config
from aiida_mlip_autopipe.core.errors import ConfigError

BASE = {'name': 'a', 'generation': [{'kind': 'alloy', 'lattice': 'fcc', 'composition': {'Cu': 1.0}}]}


def config(committee, tmp_path, **sections):
    return validate_config({**BASE, 'exploration': {'committee': committee}, **sections}, tmp_path)


def test_a_second_calculator_is_part_of_the_exploration(tmp_path):
    made = config({'calculator': {'kind': 'chgnet'}}, tmp_path)
    assert made.exploration.committee.calculator.kind == 'chgnet'
    assert made.exploration.committee.code is None


@pytest.mark.parametrize(
    ('committee', 'sections', 'sentence'),
    [
        (
            {'calculator': {'kind': 'sevennet'}},
            {},
            'exploration.committee.calculator: got kind sevennet; must differ from the calculator that explores',
        ),
        ({'calculator': {'kind': 'emt'}}, {'generation': [{**BASE['generation'][0], 'composition': {'W': 1.0}}]}, 'W'),
        (
            {'calculator': {'kind': 'sevennet', 'model': '7net-1'}},
            {},
            "exploration.committee.calculator.model: got '7net-1'",
        ),
        ({'calculater': {'kind': 'emt'}}, {}, "did you mean 'calculator'?"),
        ({'code': 'a@b'}, {}, 'exploration.committee.calculator'),
    ],
)
def test_a_committee_that_makes_no_sense_is_refused_with_its_place(tmp_path, committee, sections, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        config(committee, tmp_path, **sections)


@pytest.mark.parametrize(
    ('sampling', 'path'),
    [
        ({'kind': 'disagreement'}, 'sampling.kind'),
        (
            {'kind': 'mix', 'parts': [{'share': 1.0, 'sampler': {'kind': 'disagreement'}}]},
            'sampling.parts[0].sampler.kind',
        ),
    ],
)
def test_a_selection_by_disagreement_needs_a_committee(tmp_path, sampling, path):
    with pytest.raises(ConfigError, match=re.escape(f"{path}: got 'disagreement'; needs exploration.committee")):
        config(None, tmp_path, sampling=sampling)
    config({'calculator': {'kind': 'chgnet'}}, tmp_path, sampling=sampling)
