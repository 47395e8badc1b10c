"""Which jobs of a campaign are asked to stop, and which are killed at once."""

import pytest
from aiida import orm
from aiida.schedulers import JobState

from aiida_mlip_autopipe.campaigns.restarts.stopping import _is_waiting

pytestmark = pytest.mark.integration


@pytest.fixture(scope='module')
def computers(aiida_profile):
    return {
        scheduler: orm.Computer(
            label=f'stopping-{scheduler}',
            hostname='localhost',
            transport_type='core.local',
            scheduler_type=scheduler,
            workdir='/tmp',
        ).store()
        for scheduler in ('core.direct', 'core.slurm')
    }


@pytest.fixture
def make_job(computers):
    def make(scheduler, state, *, job_id='17', paused=False):
        job = orm.CalcJobNode(computer=computers[scheduler])
        if job_id is not None:
            job.set_job_id(job_id)
        if state is not None:
            job.set_scheduler_state(state)
        if paused:
            job.pause()
        return job

    return make


@pytest.mark.parametrize('state', [None, JobState.RUNNING, JobState.DONE, JobState.QUEUED, JobState.SUSPENDED])
def test_a_submitted_job_without_a_queue_is_asked_to_stop_in_any_state(make_job, state):
    assert not _is_waiting(make_job('core.direct', state))


@pytest.mark.parametrize('state', [None, JobState.RUNNING, JobState.DONE, JobState.UNDETERMINED])
def test_a_job_that_may_be_running_is_asked_to_stop(make_job, state):
    assert not _is_waiting(make_job('core.slurm', state))


@pytest.mark.parametrize('state', [JobState.QUEUED, JobState.QUEUED_HELD, JobState.SUSPENDED])
def test_a_job_in_the_queue_is_killed(make_job, state):
    assert _is_waiting(make_job('core.slurm', state))


@pytest.mark.parametrize('scheduler', ['core.direct', 'core.slurm'])
def test_jobs_that_were_not_submitted_or_are_paused_are_killed(make_job, scheduler):
    assert _is_waiting(make_job(scheduler, None, job_id=None))
    assert _is_waiting(make_job(scheduler, JobState.RUNNING, paused=True))
