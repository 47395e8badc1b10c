"""Trainers are stopped with the job, and never outlive it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.waiting import wait_for

from aiida_mlip_autopipe.jobs.interruptions import Interruptions
from aiida_mlip_autopipe.training import process
from aiida_mlip_autopipe.training.process import last_line, run_trainer

SLEEP = 'import time; print("started", flush=True); time.sleep(100)'
STUBBORN = f'import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}'


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a program until it ends or the stop file exists, and counts the calls of `watch`."""

    def run(program, watch=lambda: None):
        interruptions = Interruptions(tmp_path / 'stop')
        return run_trainer([sys.executable, '-c', program], tmp_path, tmp_path / 'log', interruptions, watch)

    return run


def test_the_exit_status_is_returned_and_the_output_is_in_the_log(run, tmp_path):
    assert run('print("first")') == 0
    assert run('raise ValueError("no frames")') == 1
    assert (tmp_path / 'log').read_text().startswith('first\n')
    assert last_line(tmp_path / 'log') == 'ValueError: no frames'


@pytest.mark.parametrize('program', [SLEEP, STUBBORN])
def test_a_stop_file_ends_the_trainer(run, tmp_path, monkeypatch, program):
    monkeypatch.setattr(process, 'GRACE_S', 0.5)

    def watch():
        if (tmp_path / 'log').read_text():
            (tmp_path / 'stop').touch()

    started = time.monotonic()
    assert run(program, watch) is None
    assert time.monotonic() - started < 20


def test_the_trainer_is_watched_once_more_after_its_end(run, tmp_path):
    seen = []
    run('open("written", "w")', lambda: seen.append((tmp_path / 'written').exists()))
    assert seen[-1] is True


def test_a_trainer_is_killed_with_its_job(tmp_path):
    program = f'import os; open("pid", "w").write(str(os.getpid())); {STUBBORN}'
    job = f"""
from pathlib import Path
from aiida_mlip_autopipe.jobs.interruptions import Interruptions
from aiida_mlip_autopipe.training.process import run_trainer
folder = Path('.')
run_trainer([{sys.executable!r}, '-c', {program!r}], folder, folder / 'log', Interruptions(folder / 'stop'), lambda: 0)
"""
    parent = subprocess.Popen([sys.executable, '-c', job], cwd=tmp_path)
    log = tmp_path / 'log'
    wait_for(lambda: log.exists() and 'started' in log.read_text(), 30, 'the trainer starts')
    trainer = int((tmp_path / 'pid').read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not _is_running(trainer), 10, 'the trainer ends')


def _is_running(pid):
    try:
        # A killed process remains as a zombie until its new parent asks for its status.
        return ') Z ' not in Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return False


def test_an_empty_log_is_reported(tmp_path):
    assert last_line(tmp_path / 'absent') == 'it printed nothing'
