"""The commands read an archive without a profile, and read a campaign that was imported into an empty profile."""

from __future__ import annotations

import json
import os
import re
import subprocess
import textwrap
from pathlib import Path

import pytest
from support.errors import assert_refused
from support.home import BIN, Home

from aiida_mlip_autopipe.core.codes import Code

pytestmark = pytest.mark.integration

ARCHIVE = Path(__file__).parents[1] / 'campaigns' / 'stored' / 'campaign_1.aiida'
# One process runs all commands, since AiiDA needs seconds to start.
RUN_COMMANDS = """
import json, sys
from typer.testing import CliRunner
from aiida_mlip_autopipe.cli.app import app
outputs = []
for command in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, (command, done.output, done.exception)
    outputs.append(done.stdout)
print(json.dumps(outputs))
"""


@pytest.fixture
def run_elsewhere(tmp_path):
    """Return a function that runs a command of a user without a profile, whose home stays empty."""
    home, folder = tmp_path / 'home', tmp_path / 'tmp'
    home.mkdir()
    folder.mkdir()
    home.chmod(0o500)
    environment = {name: value for name, value in os.environ.items() if not name.startswith('AIIDA')}

    def run(*arguments, program='mlip-autopipe'):
        done = subprocess.run(
            [BIN / program, *map(str, arguments)],
            env=environment | {'HOME': str(home), 'TMPDIR': str(folder)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert not list(home.rglob('*'))
        assert not list(folder.rglob('mlip-autopipe*'))
        return done

    return run


@pytest.mark.parametrize(
    'command',
    [
        ['resume', 'x.aiida'],
        ['kill', 'x.aiida'],
        ['clean', 'x.aiida'],
        ['trajectories', 'x.aiida'],
        ['archive', 'x.aiida', '-o', 'y.aiida'],
        ['extend', 'x.aiida', 'exploration.n_steps=100'],
    ],
)
def test_a_command_that_cannot_use_an_archive_names_the_one_that_imports_it(run, command):
    result = run(*command)
    assert result.exit_code == 2
    assert_refused(result.stderr, Code.CAMPAIGN_MISSING, 'x.aiida', 'mlip-autopipe import x.aiida')


def test_the_first_command_of_a_user_without_a_profile_prints_one_line(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith('AIIDA')}
    done = subprocess.run(
        [BIN / 'mlip-autopipe', 'status'],
        env=environment | {'HOME': str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert_refused(done.stderr, Code.PROFILE_MISSING, 'mlip-autopipe setup')
    assert len(done.stderr.splitlines()) == 1


def test_an_archive_is_read_without_a_profile(run_elsewhere):
    done = run_elsewhere('trace', ARCHIVE, 3, '--json')
    assert (done.returncode, done.stderr) == (0, '')
    trace = json.loads(done.stdout)
    assert (trace['row']['id'], trace['jobs'][0]['exit_status'], trace['config']['campaign']) == (3, 0, 'tiny')
    assert json.loads(run_elsewhere('report', ARCHIVE, '--json').stdout)['dataset']['n_rows'] == 8


def test_a_process_without_a_profile_reads_several_archives(run_elsewhere, tmp_path):
    code = """
        import sys
        from pathlib import Path
        from aiida_mlip_autopipe.campaigns.provenance.opened import open_archive
        for _ in range(2):
            with open_archive(Path(sys.argv[1])) as campaign:
                from aiida_mlip_autopipe.workflows.graph import load_campaign
                print(load_campaign(campaign).label)
    """
    done = run_elsewhere('-c', textwrap.dedent(code), ARCHIVE, program='python')
    assert (done.returncode, done.stdout.split()) == (0, ['tiny', 'tiny']), done.stderr


def test_lines_of_piped_output_do_not_end_in_spaces(run_elsewhere):
    for command in (['trace', ARCHIVE, 3], ['status', ARCHIVE], ['explain', ARCHIVE], ['query', 'costs', ARCHIVE]):
        lines = run_elsewhere(*command).stdout.splitlines()
        assert len(lines) > 3
        assert [line for line in lines if line != line.rstrip()] == []


def test_an_imported_campaign_is_read_in_a_profile_without_its_computer_and_code(tmp_path):
    home = Home(tmp_path / 'aiida')
    home.folder.mkdir()
    again, database, other = (tmp_path / name for name in ('again.aiida', 'rows.db', 'others.db'))
    commands = [
        ['import', ARCHIVE],
        ['import', ARCHIVE],
        ['trace', 'tiny', '3', '--json'],
        ['export', 'tiny', '-o', database],
        ['status', 'tiny', '--json'],
        ['explain', 'tiny', '--json'],
        ['archive', 'tiny', '-o', again],
        ['status', again, '--json'],
        ['explain', again, '--json'],
        ['export', again, '-o', other],
    ]
    outputs = json.loads(home('python', '-c', RUN_COMMANDS, json.dumps(commands, default=str)).stdout)
    first, second, trace, _, status, explained, archived, status_again, explained_again, _ = outputs
    n_nodes = re.search(r'(\d+) nodes imported, 0 ', first).group(1)
    assert re.search(rf'\b0 nodes imported, {n_nodes} ', second)
    assert f'{n_nodes} nodes' in archived
    assert json.loads(trace)['seed']['made_by']
    for output in (status, status_again, explained, explained_again):
        assert json.loads(output)['progress']['stage'] == 'finished'
    assert database.read_bytes() == other.read_bytes()
    cleaned = home('mlip-autopipe', 'clean', 'tiny', check=False)
    assert_refused(cleaned.stderr, Code.COMPUTER_TEST_FAILED, 'verdi computer configure')


def test_an_archive_that_cannot_be_read_is_refused_on_one_line(run_elsewhere, run, tmp_path, empty_folder):
    for folder in (tmp_path, empty_folder):
        (folder / 'text.aiida').write_text('no archive')
    done = run_elsewhere('trace', 'text.aiida', 3)
    assert done.returncode == 2
    assert_refused(done.stderr, Code.ARCHIVE_UNREADABLE, 'text.aiida')
    assert_refused(run('import', 'text.aiida').stderr, Code.ARCHIVE_UNREADABLE, 'text.aiida')
    assert_refused(run('archive', 'tiny', '-o', 'tiny.zip').stderr, Code.FILE_SUFFIX, 'tiny.zip')
    assert_refused(run_elsewhere('export', ARCHIVE, '-o', 'x.db', '-p', 'mine').stderr, Code.VALUES_EXCLUDE)
