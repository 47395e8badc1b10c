"""Full disks. A small file system is mounted on a folder, and enlarged later."""

import contextlib
import re

import pytest
from support.chaos import DATABASE, ENDED, LIMIT_S, SMALL, Machine, SmallDisk, campaign_id, read_content
from support.errors import assert_refused
from support.waiting import wait_for

from aiida_mlip_autopipe.core.codes import Code

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.long, pytest.mark.timeout(2400)]


def test_a_campaign_whose_work_directory_was_full_only_has_to_be_run_again(machine, folder, undisturbed):
    """The folder has space for the files of the jobs, but not for their trajectories and their reserve."""
    scratch = machine.folder / '.aiida' / 'scratch'
    scratch.mkdir(exist_ok=True)
    with SmallDisk(scratch, 320) as disk:
        campaign = machine.submit('campaign.yaml')
        text = machine.wait_for(campaign, r'stage\s+(failed|finished)', LIMIT_S)
        assert re.search('No space left|disk', text), text
        disk.resize(200_000)
        output = machine('mlip-autopipe', 'run', 'campaign.yaml', seconds=LIMIT_S).stdout
        assert machine.content(campaign_id(output), folder) == undisturbed
        machine.stop()


def test_a_work_directory_without_space_for_the_first_file_of_a_job_pauses_the_jobs(machine, folder, undisturbed):
    """AiiDA tries again several times and then pauses the jobs. A shorter interval avoids five minutes of waiting."""
    scratch = machine.folder / '.aiida' / 'scratch'
    scratch.mkdir(exist_ok=True)
    option = 'transport.task_retry_initial_interval'
    machine('verdi', 'config', 'set', option, 1)
    try:
        with SmallDisk(scratch, 8) as disk:
            campaign = machine.submit('campaign.yaml')
            text = machine.wait_for(campaign, r'paused', LIMIT_S)
            assert 'No space left on device' in text
            disk.resize(200_000)
            machine('mlip-autopipe', 'resume', campaign)
            machine.finish(campaign)
            assert machine.content(campaign, folder) == undisturbed
            machine.stop()
    finally:
        machine('verdi', 'config', 'unset', option)


def test_a_full_disk_at_export_leaves_no_file_and_the_database_is_exported_later(machine, folder, undisturbed_small):
    target = folder / 'target'
    target.mkdir()
    with SmallDisk(target, 8) as disk:
        done = machine(
            'mlip-autopipe',
            'run',
            'campaign.yaml',
            *SMALL,
            f'storage.database={target / DATABASE}',
            check=False,
            seconds=LIMIT_S,
        )
        assert done.returncode == 2, done.stderr
        assert_refused(done.stderr, Code.FILE_UNWRITABLE, DATABASE)
        assert list(target.iterdir()) == []
        disk.resize(200_000)
        machine('mlip-autopipe', 'export', campaign_id(done.stdout), '-o', target / DATABASE)
        assert read_content(target / DATABASE) == undisturbed_small


def test_campaigns_are_resumed_or_run_again_after_a_profile_disk_was_full(folder, tmp_path_factory, undisturbed):
    """The database, the repository, the logs and the work directory are on the same disk."""
    machine = Machine(tmp_path_factory.mktemp('full'))
    filler = machine.folder / 'filler'
    with SmallDisk(machine.folder, 300_000):
        machine('mlip-autopipe', 'setup', '--calculator', 'emt')
        campaign = machine.submit('campaign.yaml')
        machine.wait_for_checkpoint()
        fill(filler)
        for command in (['status', campaign], ['run', 'campaign.yaml', '--detach'], ['resume', campaign]):
            done = machine('mlip-autopipe', *command, check=False, seconds=LIMIT_S)
            assert done.returncode in (0, 2), done.stderr
            assert len(done.stderr.splitlines()) <= 1, done.stderr
        wait_for(lambda: not machine.part('job'), LIMIT_S, 'the end of the jobs')
        filler.unlink()
        for one in machine.stages():
            machine('mlip-autopipe', 'resume', one)
        for one in machine.stages():
            wait_for(lambda one=one: machine.stages()[one].split()[0] in ENDED, LIMIT_S, f'the end of campaign {one}')
        output = machine('mlip-autopipe', 'run', 'campaign.yaml', seconds=LIMIT_S).stdout
        assert machine.content(campaign_id(output), folder) == undisturbed
        machine.stop()


def fill(path):
    """Write a file until the disk is full."""
    with path.open('wb', buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
