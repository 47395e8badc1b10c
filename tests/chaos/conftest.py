from pathlib import Path

import pytest
from ase.build import bulk
from support.chaos import CAMPAIGN, SMALL, Machine
from support.rows import *  # noqa: F403


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in an empty folder that contains the config of the campaign."""
    path = tmp_path / 'work'
    path.mkdir()
    monkeypatch.chdir(path)
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path / 'home'))
    write_campaign(path)
    return path


def write_campaign(path: Path) -> Path:
    bulk('Al', cubic=True).repeat((2, 2, 1)).write(path / 'al.xyz')
    config = path / 'campaign.yaml'
    config.write_text(CAMPAIGN)
    return config


@pytest.fixture(scope='session')
def prepared_machine(tmp_path_factory):
    machine = Machine(tmp_path_factory.mktemp('machine'))
    machine('mlip-autopipe', 'setup', '--calculator', 'emt')
    return machine


@pytest.fixture
def machine(folder, prepared_machine):
    """A machine with a profile, on which nothing may be left running after a test."""
    yield prepared_machine
    prepared_machine.stop()


@pytest.fixture(scope='session')
def run_undisturbed(prepared_machine, tmp_path_factory):
    """Return a function that runs the campaign, with overrides, and returns the content of its dataset."""

    def run(*overrides):
        folder = tmp_path_factory.mktemp('undisturbed')
        campaign = prepared_machine.submit(write_campaign(folder), *overrides)
        prepared_machine.finish(campaign)
        content = prepared_machine.content(campaign, folder)
        prepared_machine.stop()
        return content

    return run


@pytest.fixture(scope='session')
def undisturbed(run_undisturbed):
    """The content of the dataset of the campaign, from a run that nothing disturbs."""
    return run_undisturbed()


@pytest.fixture(scope='session')
def undisturbed_small(run_undisturbed):
    """The same for the campaign with the overrides `SMALL`."""
    return run_undisturbed(*SMALL)
