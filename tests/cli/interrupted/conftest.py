"""A profile, and Ctrl-C at a chosen moment."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from support.aiida_fixtures import *  # noqa: F403
from typer.testing import CliRunner

from aiida_mlip_autopipe.cli.app import app


@pytest.fixture(scope='session')
def stored_archive():
    """An archive of a campaign with eight rows."""
    return Path(__file__).parents[2] / 'campaigns' / 'stored' / 'campaign_1.aiida'


@pytest.fixture
def folder(empty_folder, tmp_path, monkeypatch):
    """Return the working directory, which is empty. Temporary files have another folder."""
    temporary = tmp_path / 'temporary'
    temporary.mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(temporary))
    yield empty_folder
    assert list(temporary.iterdir()) == []


@pytest.fixture
def interrupt(monkeypatch):
    """Return a function that makes Ctrl-C arrive before or after the first call of a function."""

    def prepare(owner, name, when):
        called = getattr(owner, name)
        is_due = [True]

        def interrupted(*arguments, **options):
            if when == 'before':
                press(is_due)
            result = called(*arguments, **options)
            press(is_due)
            return result

        monkeypatch.setattr(owner, name, interrupted)

    def press(is_due):
        if is_due:
            is_due.clear()
            os.kill(os.getpid(), signal.SIGINT)

    return prepare


@pytest.fixture
def run():
    """Return a function that runs the program in this process."""

    def run_program(*arguments):
        return CliRunner().invoke(app, [str(one) for one in arguments], prog_name='mlip-autopipe')

    return run_program


@pytest.fixture
def run_interrupted(run):
    """Return a function that runs the program, which must be interrupted, and returns its output."""

    def run_program(*arguments):
        done = run(*arguments)
        assert done.exit_code == 130, done.output
        assert done.stderr.splitlines()[-1] == 'interrupted'
        assert 'Traceback' not in done.stderr
        return done.stdout

    return run_program
