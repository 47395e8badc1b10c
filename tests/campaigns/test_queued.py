"""Jobs that wait in the queue of a scheduler are not shown as running."""

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState
from aiida.schedulers import JobState
from aiida.schedulers.datastructures import JobInfo
from ase.build import bulk
from rich.console import Console

from aiida_mlip_autopipe.campaigns.progress import read_progress
from aiida_mlip_autopipe.cli.follow import describe
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.workflows.graph import CAMPAIGN, EXPLORATION, SEED_LINK

pytestmark = pytest.mark.integration


@pytest.fixture
def campaign(aiida_profile):
    """Return a campaign whose jobs are in different states of a queue."""
    computer = orm.Computer(
        label='hpc', hostname='localhost', transport_type='core.local', scheduler_type='core.slurm', workdir='/tmp'
    ).store()
    campaign = orm.WorkChainNode(process_type=CAMPAIGN)
    campaign.set_metadata_inputs({})
    campaign.store()
    for number, (state, annotation) in enumerate(
        [
            (JobState.QUEUED, 'PartitionTimeLimit'),
            (JobState.QUEUED, 'PartitionTimeLimit'),
            (JobState.QUEUED_HELD, 'JobHeldUser'),
            (JobState.SUSPENDED, None),
            (JobState.RUNNING, 'None'),
            (None, None),
        ]
    ):
        exploration = orm.WorkChainNode(process_type=EXPLORATION)
        exploration.base.links.add_incoming(campaign, LinkType.CALL_WORK, f'explore_{number}')
        exploration.base.links.add_incoming(
            SeedData.from_seed(Seed(bulk('Cu'), {'number': number})).store(), LinkType.INPUT_WORK, SEED_LINK
        )
        exploration.set_process_state(ProcessState.WAITING)
        job = orm.CalcJobNode(computer=computer)
        job.base.links.add_incoming(exploration.store(), LinkType.CALL_CALC, 'leg')
        job.set_process_state(ProcessState.WAITING)
        if state is not None:
            info = JobInfo()
            info.job_id, info.job_state = str(number), state
            if annotation is not None:
                info.annotation = annotation
            job.set_scheduler_state(state)
            job.set_last_job_info(info)
        job.store()
    return campaign


@pytest.mark.chaos
def test_queued_jobs_are_counted_and_the_reason_of_the_scheduler_is_shown(campaign):
    progress = read_progress(campaign)
    assert (progress.n_running, progress.n_queued) == (3, 3)
    found = [(one.computer, one.state, one.reason, len(one.pks)) for one in progress.queued]
    assert found == [
        ('hpc', 'queued', 'PartitionTimeLimit', 2),
        ('hpc', 'held', 'JobHeldUser', 1),
        ('hpc', 'suspended', None, 1),
    ]
    console = Console(width=200)
    with console.capture() as shown:
        console.print(describe(progress))
    assert '2 jobs queued on hpc: PartitionTimeLimit' in shown.get()
    assert '1 job held on hpc: JobHeldUser' in shown.get()
