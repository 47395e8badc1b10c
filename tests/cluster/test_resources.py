"""What `execution` asks for arrives at Slurm, and a job uses what it was granted."""

from __future__ import annotations

import pytest
from aiida import orm
from support.cluster import IMAGES

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

ASKED = {
    'nodes': 2,
    'cpus_per_job': 2,
    'gpus_per_job': 1,
    'memory_MB': 700,
    'max_wallclock_s': 900,
    'queue': 'urgent',
    'account': 'materials',
    'scheduler_lines': '#SBATCH --comment=by_hand\n#SBATCH --nice=7',
}
NOTE = 'env | grep -e ^APPTAINER_NV= -e ^CUDA_VISIBLE_DEVICES= -e ^OMP_NUM_THREADS= -e ^SLURM_JOB_GPUS= >granted.txt'


def job_of(campaign):
    (job,) = [node for node in campaign.called_descendants if isinstance(node, orm.CalcJobNode)]
    return job


@pytest.mark.alone
def test_all_that_a_job_asks_for_arrives_at_slurm_and_it_uses_what_it_was_granted(cluster, run_campaign, make_code):
    code = make_code('hpc', 'emt-noting', IMAGES / 'base.sif', prepend_text=NOTE)
    campaign = run_campaign(
        {'code': code.full_label, **ASKED},
        generation=[{'kind': 'structures', 'files': ['al.xyz']}],
        sampling={'n_structures': 3},
    )
    assert campaign.is_finished_ok, campaign.exit_message
    job = job_of(campaign)
    facts = cluster.queue_facts(job.get_job_id())
    assert facts['NumNodes'] == '2'
    assert facts['CPUs/Task'] == '2'
    assert facts['TresPerNode'] == 'gres:gpu:1'
    assert facts['MinMemoryNode'] == '700M'
    assert facts['TimeLimit'] == '00:15:00'
    assert facts['Partition'] == 'urgent'
    assert facts['Account'] == 'materials'
    assert facts['Comment'] == 'by_hand'
    assert facts['Nice'] == '7'
    assert facts['Requeue'] == '1'
    allocated = dict(word.split('=') for word in cluster.job_facts(job.get_job_id(), 'AllocTRES')[0].split(','))
    assert allocated['gres/gpu'] == '2'
    assert allocated['node'] == '2'
    assert allocated['mem'] == '1400M'

    assert job.outputs.result['threads'] == 2
    granted = cluster.ssh(f'cat {job.outputs.remote_folder.get_remote_path()}/granted.txt').split()
    # By the first of them Apptainer brings the driver of the GPU in, as by --nv.
    assert sorted(granted) == ['APPTAINER_NV=1', 'CUDA_VISIBLE_DEVICES=0', 'OMP_NUM_THREADS=2', 'SLURM_JOB_GPUS=0']


def test_a_job_that_asks_for_nothing_gets_one_core_and_an_hour(cluster, run_campaign, emt):
    campaign = run_campaign(
        {'code': emt.full_label},
        generation=[{'kind': 'structures', 'files': ['al.xyz']}],
        sampling={'n_structures': 3},
    )
    job = job_of(campaign)
    facts = cluster.queue_facts(job.get_job_id())
    assert (facts['NumNodes'], facts['CPUs/Task'], facts['TimeLimit']) == ('1', '1', '01:00:00')
    assert 'TresPerNode' not in facts
    assert facts['Partition'] == 'debug'
    assert job.outputs.result['threads'] == 1
