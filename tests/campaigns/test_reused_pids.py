"""A job has ended if another process has its process id."""

import subprocess

import pytest
from aiida import orm
from aiida.common.datastructures import CalcJobState

from aiida_mlip_autopipe.campaigns.restarts.reused_pids import release_ended_jobs

pytestmark = pytest.mark.integration


@pytest.fixture(scope='module')
def computer(aiida_profile, tmp_path_factory):
    computer = orm.Computer(
        label='rebooted',
        hostname='localhost',
        transport_type='core.local',
        scheduler_type='core.direct',
        workdir=str(tmp_path_factory.mktemp('work')),
    ).store()
    computer.configure()
    return computer


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a process in a folder and returns its process id."""
    processes = []

    def run(folder):
        processes.append(subprocess.Popen(['sleep', '600'], cwd=folder))
        return processes[-1].pid

    yield run
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def make_job(computer, tmp_path):
    def make(name, job_id):
        job = orm.CalcJobNode(computer=computer)
        job.set_remote_workdir(str(tmp_path / 'ab' / 'cd' / name))
        job.set_job_id(str(job_id))
        job.set_state(CalcJobState.WITHSCHEDULER)
        return job.store()

    return make


def test_only_the_job_whose_process_id_belongs_to_another_process_is_released(make_job, start, tmp_path):
    running = tmp_path / 'ab' / 'cd' / 'running'
    running.mkdir(parents=True)
    jobs = [make_job('running', start(running)), make_job('ended', start(tmp_path))]
    messages = []
    assert release_ended_jobs(jobs, messages.append) == (jobs[1].pk,)
    assert [job.get_state() for job in jobs] == [CalcJobState.WITHSCHEDULER, CalcJobState.STASHING]
    assert messages == []


def test_a_job_whose_process_id_is_free_is_left_to_aiida(make_job):
    process = subprocess.Popen(['true'])
    process.wait()
    job = make_job('gone', process.pid)
    assert release_ended_jobs([job], pytest.fail) == ()
    assert job.get_state() == CalcJobState.WITHSCHEDULER


def test_a_computer_that_is_not_configured_is_reported(aiida_profile, tmp_path):
    elsewhere = orm.Computer(
        label='elsewhere',
        hostname='localhost',
        transport_type='core.local',
        scheduler_type='core.direct',
        workdir=str(tmp_path),
    ).store()
    job = orm.CalcJobNode(computer=elsewhere)
    job.set_remote_workdir(str(tmp_path / 'ab' / 'cd' / 'other'))
    job.set_job_id('1')
    job.set_state(CalcJobState.WITHSCHEDULER)
    messages = []
    assert release_ended_jobs([job.store()], messages.append) == ()
    (message,) = messages
    assert 'verdi computer configure core.local elsewhere' in message
