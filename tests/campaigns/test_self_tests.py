"""Repeated self-tests of a code, with its last calculators or with those of a campaign."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.engine import run_get_node
from support.environments import environment_of
from support.errors import refused

from aiida_mlip_autopipe.campaigns import self_tests
from aiida_mlip_autopipe.campaigns.self_tests import find_trials, record_self_test
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.installation.codes import IMAGE_SHA256, store_self_test, stored_environment, stored_tests
from aiida_mlip_autopipe.jobs.environment import Environment
from aiida_mlip_autopipe.jobs.resources import JobResources

CUSTOM = {'kind': 'custom', 'calculator': 'ase.calculators.emt:EMT', 'cutoff_A': 6.6}


@pytest.fixture
def code(emt_code, request):
    """A code on this machine without a self-test."""
    python = str(emt_code.filepath_executable)
    label = getattr(request, 'param', f'never-tested-{orm.QueryBuilder().append(orm.InstalledCode).count()}')
    return orm.InstalledCode(label=label, computer=emt_code.computer, filepath_executable=python).store()


def launch(builder):
    return run_get_node(builder)[1]


def refuse_launch(builder):
    raise AssertionError('a job was submitted')


@pytest.mark.integration
def test_on_this_machine_a_self_test_runs_as_a_process_and_records_the_environment(code):
    report = record_self_test(code, CUSTOM, JobResources(), refuse_launch)
    assert (
        stored_environment(code, CUSTOM) == Environment.model_validate(report['environment']) == environment_of(CUSTOM)
    )
    assert set(stored_environment(code, CUSTOM).sources) == {'ase.calculators.emt'}


@pytest.mark.integration
def test_on_another_computer_a_self_test_runs_as_a_job(code, monkeypatch):
    monkeypatch.setattr(self_tests, 'is_local', lambda code: False)
    record_self_test(code, CUSTOM, JobResources(), launch)
    assert stored_environment(code, CUSTOM) == environment_of(CUSTOM)


@pytest.mark.integration
def test_a_failed_self_test_does_not_change_the_record(code):
    old = environment_of().model_copy(update={'numpy': '1.0'})
    store_self_test(code, CUSTOM, {'environment': old.model_dump(mode='json')})
    with refused(Code.SELF_TEST_FAILED, "'custom'", 'no_such_module'):
        record_self_test(code, {**CUSTOM, 'calculator': 'no_such_module:EMT'}, JobResources(), refuse_launch)
    code.base.extras.set(IMAGE_SHA256, 'a' * 64)
    with refused(Code.IMAGE_MISMATCH, 'a' * 64):
        record_self_test(code, CUSTOM, JobResources(), refuse_launch)
    assert stored_environment(code, CUSTOM) == old


def test_a_code_is_tested_again_with_the_same_calculators_and_resources(code):
    report, resources = {'environment': environment_of().model_dump(mode='json')}, JobResources(queue='gpu')
    for calculator in ({'kind': 'emt'}, CUSTOM):
        store_self_test(code, calculator, report, resources.model_dump(mode='json'))
    assert find_trials(code, None) == [({'kind': 'emt'}, resources), (CUSTOM, resources)]
    assert len(stored_tests(code)) == 2


def test_a_code_without_a_known_calculator_needs_a_config(code, emt_code, campaign_config):
    with refused(Code.CODE_WITHOUT_CALCULATOR, f'calculator test {code.full_label} --config'):
        find_trials(code, None)
    codes = [{'code': code.full_label, 'calculator': CUSTOM}, {'code': emt_code.full_label}]
    config = campaign_config(execution={'codes': codes, 'queue': 'debug'})
    ((calculator, resources),) = find_trials(code, config)
    assert (calculator['calculator'], resources.queue) == (CUSTOM['calculator'], 'debug')
    with refused(Code.CODE_WITHOUT_CALCULATOR, code.full_label):
        find_trials(code, campaign_config(execution={'code': emt_code.full_label}))


def test_the_calculators_of_the_campaign_and_the_committee_are_tested(code, campaign_config):
    lj = {'kind': 'lj', 'epsilon_eV': 0.05, 'sigma_A': 2.3}
    config = campaign_config(
        execution={'code': code.full_label}, exploration={'committee': {'calculator': lj, 'code': code.full_label}}
    )
    assert [calculator['kind'] for calculator, _ in find_trials(code, config)] == ['emt', 'lj']
    assert all('device' not in calculator for calculator, _ in find_trials(code, config))


@pytest.mark.parametrize('code', ['autopipe-chgnet'], indirect=True)
def test_the_calculator_of_an_untested_code_is_derived_from_its_label(code):
    assert find_trials(code, None) == [({'kind': 'chgnet'}, JobResources())]
