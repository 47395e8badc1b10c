import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aiida_mlip_autopipe.cli.app import app

CAMPAIGN = """\
name: cu_au
generation:
  - {kind: alloy, composition: {Cu: 0.5, Au: 0.5}, n_seeds: 3, perturb: {rattle_A: 0.05}}
calculator: {kind: emt}
"""


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Work in an empty folder, without the presets and environment variables of the user."""
    folder = tmp_path / 'work'
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path / 'home'))
    monkeypatch.delenv('MLIP_AUTOPIPE_DEBUG', raising=False)
    return folder


@pytest.fixture(scope='session')
def program():
    """Return the path of the installed program."""
    return str(Path(sys.executable).with_name('mlip-autopipe'))


@pytest.fixture
def run():
    """Return a function that runs the program in this process."""

    def run_program(*arguments):
        return CliRunner().invoke(app, arguments, prog_name='mlip-autopipe')

    return run_program


@pytest.fixture
def campaign(empty_folder):
    path = empty_folder / 'campaign.yaml'
    path.write_text(CAMPAIGN)
    return path
