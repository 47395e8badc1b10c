"""Parts of a campaign are killed. Its dataset is that of an undisturbed run, and no process is left."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support.chaos import LIMIT_S, SMALL
from support.waiting import wait_for

# Repeats the random kills of an earlier run, whose seed is in its output.
SEED = os.environ.get('MLIP_AUTOPIPE_CHAOS_SEED') or random.SystemRandom().randrange(10**6)
N_KILLS = 5
LONGEST_PAUSE_S = 8.0
WALL_TIME_S = 30

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.long, pytest.mark.timeout(2400)]


@pytest.mark.parametrize('part', ['daemon', 'broker', 'worker', 'all'])
def test_no_row_is_lost_if_a_process_is_killed(machine, folder, undisturbed, part):
    """If everything is killed, including the jobs, only the disk is left, as after a reboot."""
    campaign = machine.submit('campaign.yaml')
    machine.wait_for_checkpoint()
    victims = machine.part(part)
    assert victims
    machine.kill(victims)
    machine('mlip-autopipe', 'resume', campaign)
    machine.finish(campaign)
    assert machine.content(campaign, folder) == undisturbed


def test_a_killed_job_is_continued(machine, folder, undisturbed):
    campaign = machine.submit('campaign.yaml')
    machine.wait_for_checkpoint()
    machine.kill(machine.part('job'))
    machine.finish(campaign)
    assert machine.content(campaign, folder) == undisturbed


def test_a_job_that_is_halted_for_a_while_finishes(machine, folder, undisturbed):
    campaign = machine.submit('campaign.yaml')
    machine.wait_for_checkpoint()
    jobs = machine.part('job')
    machine.kill(jobs, signal.SIGSTOP)
    assert machine.stages()[campaign].startswith('waiting')
    machine.kill(jobs, signal.SIGCONT)
    machine.finish(campaign)
    assert machine.content(campaign, folder) == undisturbed


def test_processes_without_tasks_are_run(machine, folder, undisturbed_small):
    """The broker has lost the tasks of all processes, and the daemon runs."""
    campaign = machine.submit('campaign.yaml', *SMALL)
    wait_for(lambda: machine.stages()[campaign].startswith('waiting'), LIMIT_S, 'the submission of the seeds')
    machine.kill(machine.part('all'))
    tasks = list(machine.folder.glob('.aiida/broker/*/storage/tasks/*/*.json'))
    assert tasks
    for file in tasks:
        file.unlink()
    machine('verdi', 'daemon', 'start')
    output = machine('mlip-autopipe', 'resume', campaign).stdout
    assert re.search('^[1-9].* lost', output, re.MULTILINE), output
    machine.finish(campaign)
    assert machine.content(campaign, folder) == undisturbed_small


def test_no_row_is_lost_if_random_processes_are_killed_at_random_times(machine, folder, undisturbed):
    """Some of them are killed while `resume` repairs what the previous kill has broken."""
    chance = random.Random(int(SEED))
    print(f'MLIP_AUTOPIPE_CHAOS_SEED={SEED}')
    campaign = machine.submit('campaign.yaml')
    for _ in range(N_KILLS):
        command = machine.start('resume', campaign)
        part, pause_s = chance.choice(['daemon', 'broker', 'worker', 'job', 'all']), chance.uniform(0, LONGEST_PAUSE_S)
        until = time.monotonic() + pause_s
        wait_for(lambda until=until: time.monotonic() > until, LIMIT_S, 'a random time')
        victims = machine.part(part)
        print(f'{part} after {pause_s:.2f} s: {[victim.pid for victim in victims]}')
        machine.kill(victims)
        output, _ = command.communicate(timeout=LIMIT_S)
        assert command.returncode in (0, 2), output
        assert 'Traceback' not in output
    last = machine.resume_until_finished(campaign)
    assert machine.content(last, folder) == undisturbed


def test_a_pid_that_now_belongs_to_another_process_is_left_alone(machine, folder, undisturbed):
    """After a reboot, the pids in the files of AiiDA may belong to processes that have nothing to do with it."""
    campaign = machine.submit('campaign.yaml')
    machine.wait_for_checkpoint()
    machine.kill(machine.part('all'))
    command = [sys.executable, '-c', 'import time; time.sleep(1200)', '-p', 'other', 'daemon', 'start-circus']
    other = subprocess.Popen(command)
    try:
        (daemon,) = machine.folder.glob('.aiida/daemon/circus-*.pid')
        (broker,) = machine.folder.glob('.aiida/broker/*/broker.pid')
        for file in (daemon, broker):
            file.write_text(re.sub(r'\d+', str(other.pid), file.read_text()))
        machine('mlip-autopipe', 'resume', campaign)
        machine.finish(campaign)
        assert machine.content(campaign, folder) == undisturbed
        machine.stop()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize('command', ['resume', 'kill'])
def test_a_job_whose_pid_now_belongs_to_another_process_is_continued(machine, folder, undisturbed, command):
    """AiiDA believes that this job is running, and would kill the other process."""
    campaign = machine.submit('campaign.yaml')
    machine.wait_for_checkpoint()
    machine.kill(machine.part('all'))
    other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1200)'])
    try:
        changed = machine.ask(f"""
            jobs = [job for job in orm.load_node({campaign}).called_descendants if isinstance(job, orm.CalcJobNode)]
            jobs = [job for job in jobs if not job.is_terminated and job.get_job_id()]
            for job in jobs:
                job.set_job_id('{other.pid}')
            print(len(jobs))
        """)
        assert changed
        options = ('--wait', 0) if command == 'kill' else ()
        output = machine('mlip-autopipe', command, campaign, *options).stdout
        if command == 'resume':
            assert re.search(rf'^{changed} job.*\bprocess id', output, re.MULTILINE), output
        last = machine.resume_until_finished(campaign)
        assert machine.content(last, folder) == undisturbed
        machine.stop()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize('wait_s', [120, 0])
def test_a_suspended_job_ends_when_its_campaign_is_stopped(machine, folder, undisturbed, wait_s):
    """With enough time, it ends at a checkpoint. Otherwise, it is killed."""
    campaign = machine.submit('campaign.yaml')
    machine.wait_for_checkpoint()
    scratch = machine.folder / '.aiida' / 'scratch'
    jobs = [process for process in machine.processes() if scratch in Path(process.cwd()).parents]
    machine.kill(jobs, signal.SIGSTOP)
    machine('mlip-autopipe', 'kill', campaign, '--wait', wait_s)
    assert psutil.wait_procs(jobs, timeout=1)[1] == []
    last = machine.resume_until_finished(campaign)
    assert machine.content(last, folder) == undisturbed


def test_a_job_that_is_suspended_beyond_its_wall_time_is_continued(machine, folder, run_undisturbed):
    limit = f'execution.max_wallclock_s={WALL_TIME_S}'
    campaign = machine.submit('campaign.yaml', limit)
    machine.wait_for_checkpoint()
    jobs = machine.part('job')
    machine.kill(jobs, signal.SIGSTOP)
    until = time.monotonic() + WALL_TIME_S
    wait_for(lambda: time.monotonic() > until, LIMIT_S, 'the end of the wall time')
    machine.kill(jobs, signal.SIGCONT)
    machine.finish(campaign)
    assert machine.content(campaign, folder) == run_undisturbed(limit)
