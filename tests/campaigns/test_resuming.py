"""Campaigns that ended early are submitted again with the same inputs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.engine import ProcessState, run_get_node
from aiida.manage import get_manager
from aiida.transports.plugins.local import LocalTransport
from support.errors import refused
from support.waiting import wait_for

from aiida_mlip_autopipe.campaigns import resuming
from aiida_mlip_autopipe.campaigns.progress import read_progress
from aiida_mlip_autopipe.campaigns.restarts import survivors
from aiida_mlip_autopipe.campaigns.restarts.changes import refuse_changed_inputs
from aiida_mlip_autopipe.campaigns.restarts.leftovers import stop_leftovers
from aiida_mlip_autopipe.campaigns.resuming import resume_campaign, resumed_builder
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration import RUNNER_VERSION
from aiida_mlip_autopipe.workflows.graph import last_resumed, resumed_campaigns

pytestmark = pytest.mark.integration


@pytest.fixture(scope='module')
def resumed(tiny_campaign):
    """The campaign that resumes the tiny campaign, which did not reuse finished calculations."""
    return run_get_node(resumed_builder(tiny_campaign))[1]


def test_a_resumed_campaign_repeats_nothing_and_names_the_earlier_one(tiny_campaign, resumed):
    jobs = [node for node in resumed.called_descendants if isinstance(node, orm.CalcJobNode)]
    assert len(jobs) == 3
    assert all(job.base.caching.is_created_from_cache for job in jobs)
    assert resumed.outputs.dataset.uuid != tiny_campaign.outputs.dataset.uuid
    assert resumed.outputs.dataset.base.attributes.get('sha256') == tiny_campaign.outputs.dataset.base.attributes.get(
        'sha256'
    )
    assert resumed.label == tiny_campaign.label
    assert read_progress(resumed).resumes == tiny_campaign.pk
    assert read_progress(tiny_campaign).resumed_by == resumed.pk
    assert [one.pk for one in resumed_campaigns(resumed.uuid)] == [resumed.pk, tiny_campaign.pk]
    assert last_resumed(tiny_campaign).pk == resumed.pk


def test_a_campaign_that_has_finished_is_not_resumed(tiny_campaign, resumed):
    done = resume_campaign(tiny_campaign)
    assert (done.has_finished, done.submitted, done.campaign.pk) == (True, False, resumed.pk)


def test_an_unchanged_campaign_can_be_resumed(tiny_campaign):
    refuse_changed_inputs(tiny_campaign)


def test_hidden_codes_and_disabled_computers_are_named(tiny_campaign, emt_code):
    user = orm.User.collection.get_default()
    emt_code.is_hidden = True
    try:
        with refused(Code.CAMPAIGN_CHANGED, emt_code.full_label):
            refuse_changed_inputs(tiny_campaign)
    finally:
        emt_code.is_hidden = False
    authentication = emt_code.computer.get_authinfo(user)
    authentication.enabled = False
    try:
        with refused(Code.CAMPAIGN_CHANGED, emt_code.computer.label):
            refuse_changed_inputs(tiny_campaign)
    finally:
        authentication.enabled = True


def test_a_computer_that_cannot_be_reached_is_not_a_change(tiny_campaign, emt_code, monkeypatch):
    def fail(self, *args, **kwargs):
        raise OSError('timed out')

    monkeypatch.setattr(orm.Computer, 'get_transport', fail)
    with refused(Code.COMPUTER_TEST_FAILED, emt_code.full_label, 'timed out', emt_code.computer.label):
        refuse_changed_inputs(tiny_campaign)


def test_changed_packages_are_named(tiny_campaign, monkeypatch):
    from aiida_mlip_autopipe.campaigns.restarts import changes

    read = changes.read_code_environment
    monkeypatch.setattr(
        changes, 'read_code_environment', lambda *args: read(*args).model_copy(update={'numpy': '1.0', 'device': None})
    )
    with refused(Code.CAMPAIGN_CHANGED, 'numpy', '1.0'):
        refuse_changed_inputs(tiny_campaign)


def test_a_changed_version_of_the_runner_is_named(tiny_campaign, monkeypatch):
    from aiida_mlip_autopipe.campaigns.restarts import changes

    monkeypatch.setitem(changes.VERSIONS, 'runner_version', 'new')
    with refused(Code.CAMPAIGN_CHANGED, f' {RUNNER_VERSION} ', ' new;'):
        refuse_changed_inputs(tiny_campaign)


HOLD_LOCK = """
import sys
from aiida import load_profile, orm
load_profile(sys.argv[1])
from aiida_mlip_autopipe.campaigns import resuming
def stop_leftovers(*_):
    print('locked', flush=True)
    sys.stdin.read()
    raise SystemExit
resuming.ensure_daemon = lambda: False
resuming.refuse_changed_inputs = lambda campaign: None
resuming.stop_leftovers = stop_leftovers
resuming.resume_campaign(orm.load_node(int(sys.argv[2])))
"""


@pytest.mark.chaos
def test_two_processes_cannot_resume_a_campaign_at_the_same_time(aiida_profile, monkeypatch):
    """The first one waits for processes of the campaign to end."""
    first, second = killed_campaign(), killed_campaign()
    monkeypatch.setattr(resuming, 'ensure_daemon', lambda: False)
    monkeypatch.setattr(resuming, 'stop_leftovers', lambda *_: None)
    monkeypatch.setattr(resuming, 'resumed_builder', lambda campaign: campaign)
    submitted, announced = [], []
    monkeypatch.setattr(resuming, 'submit', lambda campaign: submitted.append(campaign.pk) or campaign)
    command = [sys.executable, '-W', 'ignore', '-c', HOLD_LOCK, get_manager().get_profile().name, str(first.pk)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == 'locked\n'
        with refused(Code.CAMPAIGN_RESUMING, str(first.pk)):
            resume_campaign(first)
        assert resume_campaign(second).submitted
        other.kill()
    assert resume_campaign(first, announce=announced.append).submitted
    assert submitted == [second.pk, first.pk]
    assert [one.pk for one in announced] == [first.pk]


def killed_campaign():
    campaign = orm.WorkChainNode()
    campaign.set_process_state(ProcessState.KILLED)
    return campaign.store()


@pytest.fixture(params=['core.local', 'core.ssh'])
def computer(request, aiida_profile, tmp_path, monkeypatch):
    """A computer without a scheduler: this machine, or another one, whose processes a command lists there."""
    kinds = {'transport_type': request.param, 'scheduler_type': 'core.direct'}
    found = orm.Computer(
        label=f'{request.param}-{tmp_path.name}', hostname='localhost', workdir=str(tmp_path), **kinds
    ).store()
    monkeypatch.setattr(orm.Computer, 'get_transport', lambda self, user=None: LocalTransport())
    return found


def killed_job(computer, folder):
    campaign = killed_campaign()
    job = orm.CalcJobNode(computer=computer)
    job.set_process_state(ProcessState.KILLED)
    job.set_remote_workdir(str(folder))
    job.base.links.add_incoming(campaign, LinkType.CALL_CALC, 'job')
    return campaign, job.store()


def test_a_process_that_outlived_its_killed_job_is_stopped(computer, tmp_path):
    """It ignores the request to stop, so it is killed."""
    folder = tmp_path / 'ab' / 'cd' / 'job'
    folder.mkdir(parents=True)
    survivor = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], cwd=folder)
    try:
        campaign, job = killed_job(computer, folder)
        messages = []
        stop_leftovers(campaign, 0.0, messages.append)
        assert (folder / 'stop').is_file()
        assert str(job.pk) in messages[0]
        wait_for(lambda: survivor.poll() is not None, 10, 'the process ends')
        messages.clear()
        stop_leftovers(campaign, 0.0, messages.append)
        assert messages == []
    finally:
        survivor.kill()
        survivor.wait()


@pytest.mark.parametrize('computer', ['core.ssh'], indirect=True)
def test_a_computer_that_does_not_list_its_processes_is_reported(computer, tmp_path, monkeypatch):
    monkeypatch.setattr(survivors, 'LIST_FOLDERS', 'ls -l /nowhere/[0-9]*/cwd 2>/dev/null')
    campaign, job = killed_job(computer, tmp_path)
    messages = []
    stop_leftovers(campaign, 0.0, messages.append)
    (message,) = messages
    assert all(value in message for value in (computer.label, '/proc', str(job.pk)))
