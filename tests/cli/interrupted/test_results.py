"""Ctrl-C at several points of the commands that write a campaign to files or compute its rows again."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import psutil
import pytest
from support.stored import import_campaign
from support.waiting import wait_for

from aiida_mlip_autopipe.campaigns import export
from aiida_mlip_autopipe.campaigns.provenance import archive, reproduction, rerun
from aiida_mlip_autopipe.campaigns.provenance.opened import check_archive
from aiida_mlip_autopipe.storage import Dataset

pytestmark = [pytest.mark.integration, pytest.mark.chaos]


@pytest.fixture(scope='module')
def campaign(aiida_profile, stored_archive):
    return import_campaign(stored_archive).pk


@pytest.mark.parametrize('when', ['before', 'after'])
def test_export_leaves_no_file_or_the_earlier_one(campaign, folder, run, run_interrupted, interrupt, when):
    interrupt(export.shutil, 'copyfile', when)
    run_interrupted('export', campaign, '-o', 'rows.db')
    assert list(folder.iterdir()) == []
    assert run('export', campaign, '-o', 'rows.db').exit_code == 0
    with Dataset(Path('rows.db')) as dataset:
        assert len(list(dataset.query())) == 8
    Path('rows.db').write_text('earlier')
    interrupt(export.shutil, 'copyfile', when)
    run_interrupted('export', campaign, '-o', 'rows.db', '--force')
    assert [path.name for path in folder.iterdir()] == ['rows.db']
    assert Path('rows.db').read_text() == 'earlier'


@pytest.mark.parametrize(
    ('name', 'when'),
    [
        ('create_archive', 'before'),
        ('create_archive', 'after'),
        ('write_campaign_report', 'after'),
        ('_count_nodes', 'after'),
    ],
)
def test_archive_leaves_no_file(campaign, folder, run, run_interrupted, interrupt, monkeypatch, name, when):
    # The report card takes seconds.
    monkeypatch.setattr(archive, 'write_campaign_report', lambda node, path: path.write_text('card'))
    interrupt(archive, name, when)
    run_interrupted('archive', campaign, '-o', 'campaign.aiida')
    assert list(folder.iterdir()) == []
    assert run('archive', campaign, '-o', 'campaign.aiida').exit_code == 0
    check_archive(Path('campaign.aiida'))


@pytest.mark.parametrize(
    ('owner', 'name'), [(reproduction, '_group_by_run'), (rerun, 'run_local_job'), (reproduction, '_compare')]
)
def test_reproduce_leaves_nothing(folder, stored_archive, run_interrupted, interrupt, owner, name):
    interrupt(owner, name, 'before')
    run_interrupted('reproduce', stored_archive, 3)
    assert list(folder.iterdir()) == []


def test_reproduce_ends_the_job_that_it_runs(folder, stored_archive, run_interrupted):
    jobs = []

    def find_jobs():
        children = psutil.Process().children(recursive=True)
        jobs[:] = [child for child in children if 'aiida_mlip_autopipe.exploration' in child.cmdline()]
        return jobs

    def interrupt_the_command():
        wait_for(find_jobs, 60, 'the job')
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt_the_command)
    thread.start()
    run_interrupted('reproduce', stored_archive, 3)
    thread.join()
    assert psutil.wait_procs(jobs, timeout=10)[1] == []
