import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.errors import assert_refused

from aiida_mlip_autopipe.core.codes import Code

PROGRAM = str(Path(sys.executable).with_name('mlip-autopipe'))


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    """Return a folder with a profile, and a function that runs the program in it."""
    folder = tmp_path_factory.mktemp('home')
    environment = {**os.environ, 'HOME': str(folder), 'AIIDA_PATH': str(folder)}
    environment.pop('AIIDA_PROFILE', None)

    def run(*arguments):
        return subprocess.run(
            [PROGRAM, *arguments], env=environment, cwd=folder, capture_output=True, text=True, check=False
        )

    assert run('setup', '--help').returncode == 0
    script = 'from aiida_mlip_autopipe.installation.profile import ensure_profile; ensure_profile(None)'
    subprocess.run([sys.executable, '-c', script], env=environment, check=True)
    return folder / '.aiida', run


@pytest.fixture
def damage(prepared):
    """Return a function that replaces the content of a file of AiiDA until the end of the test."""
    folder, _ = prepared
    restored = {}

    def replace(pattern, content):
        path = next(folder.glob(pattern))
        restored[path] = path.read_bytes()
        path.write_bytes(content)

    yield replace
    for path, content in restored.items():
        path.write_bytes(content)


@pytest.mark.parametrize(
    ('pattern', 'content', 'value'),
    [
        ('config.json', b'{garbage', 'config.json'),
        ('config.json', b'[]', 'config.json'),
        ('repository/*/database.sqlite', b'garbage' * 1000, 'mlip-autopipe'),
        ('repository/*/database.sqlite', b'', 'mlip-autopipe'),
    ],
)
@pytest.mark.chaos
def test_damaged_files_of_aiida_are_reported_in_one_sentence(prepared, damage, pattern, content, value):
    damage(pattern, content)
    _, run = prepared
    done = run('status')
    assert (done.returncode, done.stdout) == (2, '')
    assert_refused(done.stderr, Code.FILE_UNREADABLE, value)


def test_a_profile_that_is_intact_is_read(prepared):
    _, run = prepared
    assert run('status').returncode == 0
