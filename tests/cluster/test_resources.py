"""The resources of `execution` are requested from Slurm, and a job uses what Slurm allocated."""

from __future__ import annotations

import pytest
from aiida import orm
from support.cluster import IMAGES

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

REQUESTED = {
    'nodes': 2,
    'cpus_per_job': 2,
    'gpus_per_job': 1,
    'memory_MB': 700,
    'max_wallclock_s': 900,
    'queue': 'urgent',
    'account': 'materials',
    'scheduler_lines': '#SBATCH --comment=by_hand\n#SBATCH --nice=7',
}
PRINT = 'env | grep -e ^APPTAINER_NV= -e ^CUDA_VISIBLE_DEVICES= -e ^OMP_NUM_THREADS= -e ^SLURM_JOB_GPUS= >allocated.txt'


def job_of(campaign):
    (job,) = [node for node in campaign.called_descendants if isinstance(node, orm.CalcJobNode)]
    return job


@pytest.mark.alone
def test_a_job_requests_all_its_resources_and_uses_the_allocated_ones(cluster, run_campaign, make_code):
    code = make_code('hpc', 'emt-printing', IMAGES / 'base.sif', prepend_text=PRINT)
    campaign = run_campaign(
        {'code': code.full_label, **REQUESTED},
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
    variables = cluster.ssh(f'cat {job.outputs.remote_folder.get_remote_path()}/allocated.txt').split()
    # With APPTAINER_NV, Apptainer provides the GPU driver, as with --nv.
    assert sorted(variables) == ['APPTAINER_NV=1', 'CUDA_VISIBLE_DEVICES=0', 'OMP_NUM_THREADS=2', 'SLURM_JOB_GPUS=0']


def test_a_job_has_one_core_and_one_hour_by_default(cluster, run_campaign, emt):
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
