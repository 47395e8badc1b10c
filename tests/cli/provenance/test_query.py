"""`explain` and `query` of an archive, without a profile."""

import csv
import json
from pathlib import Path

import pytest
from support.errors import assert_refused

from aiida_mlip_autopipe.core.codes import Code

pytestmark = pytest.mark.integration

ARCHIVE = str(Path(__file__).parents[2] / 'campaigns' / 'stored' / 'campaign_1.aiida')


def test_explain_describes_a_campaign_as_text_and_as_json(run):
    explained = json.loads(run('explain', ARCHIVE, '--json').stdout)
    assert (explained['state'], explained['seeds'], explained['failures']) == ('finished', {'completed': 3}, [])
    assert [stage['n_force_calls'] for stage in explained['stages']] == [0, 63, 30, 0, 0]
    text = run('explain', ARCHIVE).stdout
    assert all(stage['stage'] in text for stage in explained['stages'])
    assert '3 completed' in text


def test_query_prints_the_same_answer_in_all_formats(run):
    records = json.loads(run('query', 'jobs', ARCHIVE, '--json').stdout)
    lines = list(csv.DictReader(run('query', 'jobs', ARCHIVE, '--csv').stdout.splitlines()))
    assert [(one['process'], one['calculator'], str(one['n_jobs'])) for one in records] == [
        (one['process'], one['calculator'], one['n_jobs']) for one in lines
    ]
    assert [one['calculator'] for one in records] == ['lj', 'emt']
    table = run('query', 'jobs', ARCHIVE).stdout
    assert all(one['process'] in table for one in records)


@pytest.mark.parametrize('question', ['frames', 'rows', 'crashes', 'costs'])
def test_every_question_has_an_answer(run, question):
    assert run('query', question, ARCHIVE).exit_code == 0


def test_two_formats_and_a_wrong_composition_are_refused(run):
    assert_refused(run('query', 'costs', ARCHIVE, '--json', '--csv').stderr, Code.VALUES_EXCLUDE, '--csv')
    assert_refused(run('query', 'rows', ARCHIVE, '--composition', 'Xy').stderr, Code.FORMULA_INVALID, 'Xy')
