"""A user stops a campaign on the cluster, loses the connection, and removes the job folders."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from support.cluster import IMAGES, Cluster
from support.home import Home
from support.tiny_campaign import write_structures
from support.waiting import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500)]

# Two crystals of aluminium.
CONFIG = """\
name: aluminium
generation:
  - {{kind: structures, files: [al.xyz], perturb: {{rattle_A: 0.05, n_variants: 2}}}}
calculator: {{kind: emt}}
exploration: {{temperature_K: 400, n_steps: {n_steps}, frame_interval: 20, checkpoint_interval: 20}}
sampling: {{n_structures: 6}}
execution: {{{execution}}}
"""
ENDLESS = 10_000_000
WORK = Cluster.home / 'stopping'


@pytest.fixture(scope='module')
def home(cluster, tmp_path_factory):
    """A profile with the code `autopipe-emt` on this machine and on the cluster; AiiDA retries for 15 s."""
    home = Home(tmp_path_factory.mktemp('home'))
    home('mlip-autopipe', 'setup', '--calculator', 'emt')
    home('verdi', 'config', 'set', 'transport.task_retry_initial_interval', 1)
    options = ('--poll', '1', '--connection-interval', '0', '--workdir', WORK)
    home('mlip-autopipe', 'computer', 'add', 'hpc', '--host', 'hpc', '--scheduler', 'slurm', *options)
    home('mlip-autopipe', 'calculator', 'register', 'emt', '--computer', 'hpc', '--image', IMAGES / 'base.sif')
    yield home
    home('verdi', 'daemon', 'stop', check=False)


@pytest.fixture
def submit(home, cluster, tmp_path):
    """Return a function that submits the campaign and returns its pk; running campaigns are killed at the end."""
    campaigns = []

    def run(n_steps, execution='code: autopipe-emt@hpc'):
        # Remove the folders of earlier campaigns.
        cluster.ssh(f'rm -rf {WORK}/*')
        path = write_structures(tmp_path) / 'campaign.yaml'
        path.write_text(CONFIG.format(n_steps=n_steps, execution=execution))
        campaigns.append(home.submit(path))
        return campaigns[-1]

    yield run
    for campaign in campaigns:
        home('mlip-autopipe', 'kill', campaign, '--wait', 1, check=False)


def read_jobs(home, campaign):
    """Return the pk, computer, Slurm id, folder and exit status of the jobs of a campaign."""
    return home.ask(f"""
        jobs = [job for job in orm.load_node({campaign}).called_descendants if isinstance(job, orm.CalcJobNode)]
        facts = lambda job: [job.pk, job.computer.label, job.get_job_id(), job.get_remote_workdir(), job.exit_status]
        print(json.dumps([facts(job) for job in sorted(jobs, key=lambda job: job.pk)]))
    """)


def folders_with_checkpoints(number):
    """Return the folders of the jobs when this many of them have written a checkpoint."""

    def find():
        folders = [path.parent for path in WORK.rglob('checkpoint.npz')]
        return folders if len(folders) >= number else None

    return wait_for(find, 120, f'the checkpoints of {number} jobs')


def runner_of(folder):
    """Return the id of the process that runs in a folder, or None."""
    for process in Path('/proc').glob('[0-9]*'):
        try:
            # Not the shell of the container, whose command line contains the runner too.
            program = (process / 'cmdline').read_bytes().split(b'\0')
            if program[1:3] == [b'-m', b'aiida_mlip_autopipe.exploration'] and os.readlink(process / 'cwd') == str(
                folder
            ):
                return int(process.name)
        except OSError:
            continue
    return None


def test_killed_jobs_write_a_checkpoint_and_are_parsed_and_their_folders_are_removed(home, submit, cluster):
    campaign = submit(ENDLESS)
    folders = folders_with_checkpoints(2)
    assert re.search(r'^2 jobs?\b.*\b0\b', home('mlip-autopipe', 'kill', campaign).stdout, re.MULTILINE)
    jobs = read_jobs(home, campaign)
    assert [job[4] for job in jobs] == [400, 400]
    assert [cluster.job_facts(job[2], 'State') for job in jobs] == [['COMPLETED']] * 2
    frames = home.ask(f"""
        jobs = [job for job in orm.load_node({campaign}).called_descendants if isinstance(job, orm.CalcJobNode)]
        print(json.dumps([len(job.outputs.trajectory.get_stepids()) for job in jobs if 'checkpoint' in job.outputs]))
    """)
    assert len(frames) == 2
    assert min(frames) >= 1
    assert re.match(r'2 folders\b', home('mlip-autopipe', 'clean', campaign).stdout)
    assert not any((folder / 'job.json').exists() for folder in folders)


def test_a_job_that_does_not_stop_in_time_is_killed(home, submit, cluster):
    campaign = submit(ENDLESS)
    folders = folders_with_checkpoints(2)
    # The runner hangs, as it does if the file system does not respond.
    runner = wait_for(lambda: runner_of(folders[0]), 60, f'a runner in {folders[0]}')
    os.kill(runner, signal.SIGSTOP)
    output = home('mlip-autopipe', 'kill', campaign, '--wait', 25).stdout
    assert re.search(r'^1 jobs?\b.*\b1\b', output, re.MULTILINE), output
    numbers = {job[3]: job[2] for job in read_jobs(home, campaign)}
    assert cluster.job_facts(numbers[str(folders[1])], 'State') == ['COMPLETED']
    hung = numbers[str(folders[0])]
    wait_for(lambda: cluster.job_facts(hung, 'State')[0].startswith('CANCELLED'), 60, 'the end of the hanging job')


@pytest.mark.alone
@pytest.mark.long
def test_a_long_loss_of_the_connection_pauses_the_jobs(home, submit, cluster):
    campaign = submit(3000, 'code: autopipe-emt@hpc, max_concurrent_jobs: 1')
    folders_with_checkpoints(1)
    cluster.stop_sshd()
    try:
        text = home.wait_for(campaign, 'is paused', 120)
        assert re.search(
            r'job \d+ is paused: .* failed 5 times consecutively: .*\[Errno 111\] Connect call failed', text
        )
        assert f'mlip-autopipe resume {campaign}' in text
        # A paused job frees its slot, so the job of the other seed starts and is paused too.
        home.wait_for(campaign, r'(?s)(is paused.*){2}', 150)
    finally:
        cluster.start_sshd()
    assert re.search(r'^2 jobs\b', home('mlip-autopipe', 'resume', campaign).stdout, re.MULTILINE)
    home.wait_for(campaign, r'stage\s+finished')
    assert [job[4] for job in read_jobs(home, campaign)] == [0, 0]
    assert re.match(r'2 folders\b', home('mlip-autopipe', 'clean', campaign).stdout)
