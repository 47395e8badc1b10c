import errno
import os
import resource
import signal
import sqlite3
import subprocess
import time
from contextlib import closing

import psutil
import pytest
from sqlalchemy.exc import DBAPIError
from support.chaos import SmallDisk
from support.errors import assert_refused

from aiida_mlip_autopipe.core.codes import Code

FIVE_FAULTS = """\
name: five faults
generation:
  - {kind: aloy, composition: {Cu: 1}}
  - {kind: alloy, composition: {Cux: 0.5, Au: 0.5}}
exploration: {temperature_K: -300}
samplign: {n_structures: 5}
"""


def test_five_faults_are_reported_on_five_lines_and_no_file_is_created(empty_folder, program, run):
    (empty_folder / 'bad.yaml').write_text(FIVE_FAULTS)
    done = subprocess.run([program, 'config', 'check', 'bad.yaml'], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, '')
    lines = done.stderr.splitlines()
    assert len(lines) == 5
    paths = ['name', 'generation[0].kind', 'generation[1].composition.Cux', 'exploration.temperature_K', 'samplign']
    assert [line.partition(': ')[0] for line in lines] == paths
    ends = [
        "'five_faults'?  [wrong_pattern]",
        "'alloy'?  [kind_unknown]",
        "'Cu'?  [element_unknown]",
        '  [out_of_range]',
        "'sampling'?  [key_unknown]",
    ]
    assert all(line.endswith(end) for line, end in zip(lines, ends, strict=True))
    for arguments in (['config', 'show', 'bad.yaml'], ['generate', 'bad.yaml']):
        result = run(*arguments)
        assert (result.exit_code, result.stdout, result.stderr) == (2, '', done.stderr)
    assert os.listdir() == ['bad.yaml']


@pytest.mark.parametrize(
    ('arguments', 'code', 'values'),
    [
        (['config', 'check', 'nowhere.yaml'], Code.FILE_MISSING, ['nowhere.yaml']),
        (['config', 'check', '.'], Code.NOT_A_FILE, ['. ']),
        (['config', 'check', 'campaign.yaml', 'nonsense'], Code.OVERRIDE_INVALID, ["'nonsense'"]),
        (
            ['config', 'check', 'campaign.yaml', '+exploration=anneel'],
            Code.CHOICE_UNKNOWN,
            ["'anneel'", 'exploration', "'anneal'"],
        ),
        (
            ['config', 'check', 'campaign.yaml', 'exploration.temperature_K=-1'],
            Code.OUT_OF_RANGE,
            ['exploration.temperature_K: ', '-1'],
        ),
        (
            ['config', 'check', 'campaign.yaml', 'calculator.kind=mace', 'calculator.model=a/b.model'],
            Code.FILE_MISSING,
            ['calculator.model: ', "'a/b.model'"],
        ),
        (['config', 'init', 'campaign.yaml'], Code.FILE_EXISTS, ['campaign.yaml', '--force']),
        (['config', 'init', '.'], Code.NOT_A_FILE, ['. ']),
        (['config', 'init', 'no/file.yaml'], Code.FOLDER_MISSING, [' no ', 'file.yaml']),
        (['generate', 'campaign.yaml', '-o', 'seeds.traj'], Code.FILE_SUFFIX, ['seeds.traj', '.extxyz']),
        (['generate', 'campaign.yaml', '-o', 'no/seeds.xyz'], Code.FOLDER_MISSING, [' no ', 'seeds.xyz']),
        (
            ['config', 'check', 'campaign.yaml', 'generation[0].validation.max_atoms=10'],
            Code.STRUCTURE_INVALID,
            ['generation[0]: ', 'validation.max_atoms', '10'],
        ),
    ],
)
def test_a_user_error_is_reported_on_one_line_with_status_2(run, campaign, arguments, code, values):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ''
    assert_refused(result.stderr, code, *values)
    assert len(result.stderr.splitlines()) == 1
    assert sorted(os.listdir()) == ['campaign.yaml']


@pytest.mark.parametrize(
    'arguments',
    [
        ['trace', 'absent.db', '1'],
        ['reproduce', 'absent.db', '1'],
        ['label', 'run', 'absent.db', '--settings', 'label.yaml', '-o', 'new.db'],
        ['label', 'run', 'absent.db', '--settings', 'label.yaml', '--dry-run'],
        ['label', 'converge', 'absent.db', '--settings', 'label.yaml'],
        ['train', 'run', 'absent.db', '--kind', 'sevennet'],
        ['dataset', 'label-from', 'runs', 'absent.db', '-o', 'new.db'],
        ['trace', 'absent.aiida', '1'],
        ['reproduce', 'absent.aiida', '1'],
        ['status', 'absent.aiida'],
        ['explain', 'absent.aiida'],
        ['query', 'rows', 'absent.aiida'],
        ['export', 'absent.aiida', '-o', 'new.db'],
        ['report', 'absent.aiida', '-o', 'new.html'],
        ['import', 'absent.aiida'],
    ],
    ids=' '.join,
)
def test_a_missing_file_is_named_before_a_profile_is_opened(run, empty_folder, monkeypatch, arguments):
    def open_profile(*_):
        raise AssertionError('a profile was opened')

    for name in ('open_profile', 'open_profile_if_any', 'ensure_profile'):
        monkeypatch.setattr(f'aiida_mlip_autopipe.installation.profile.{name}', open_profile)
    (empty_folder / 'runs').mkdir()
    (empty_folder / 'label.yaml').write_text('labelling: {kind: gpaw}\n')
    result = run(*arguments)
    assert result.exit_code == 2
    assert_refused(result.stderr, Code.FILE_MISSING, next(one for one in arguments if one.startswith('absent')))


def test_debug_prints_a_traceback_and_does_not_change_the_status(run, monkeypatch):
    for result in (
        run('--debug', 'config', 'check', 'x.yaml'),
        _with_variable(run, monkeypatch, 'config', 'check', 'x.yaml'),
    ):
        assert result.exit_code == 2
        assert result.stderr.startswith('Traceback (most recent call last)')
        assert_refused(result.stderr.splitlines()[-1], Code.FILE_MISSING, 'x.yaml')


def _with_variable(run, monkeypatch, *arguments):
    monkeypatch.setenv('MLIP_AUTOPIPE_DEBUG', '1')
    return run(*arguments)


def test_a_bug_is_reported_on_one_line_with_status_1_and_a_hint(run, campaign, monkeypatch):
    def broken(*arguments):
        raise KeyError('a bug\nof ours')

    monkeypatch.setattr('aiida_mlip_autopipe.config.load_config', broken)
    result = run('config', 'check', 'campaign.yaml')
    assert (result.exit_code, result.stdout) == (1, '')
    assert 'KeyError: ' in result.stderr
    assert '`mlip-autopipe --debug …`' in result.stderr
    assert len(result.stderr.splitlines()) == 1
    debugged = run('--debug', 'config', 'check', 'campaign.yaml')
    assert debugged.exit_code == 1
    assert 'Traceback' in debugged.stderr
    assert '--debug' not in debugged.stderr


def test_an_invalid_command_line_is_a_usage_error(run):
    for arguments in (['nonsense'], ['config', 'check'], ['generate', 'x.yaml', '--nonsense']):
        result = run(*arguments)
        assert result.exit_code == 2
        assert 'Usage: mlip-autopipe' in result.stderr
        assert 'bug' not in result.stderr


@pytest.fixture
def generating(campaign, program):
    """Start a program that generates seeds in several processes; return it and its processes."""
    arguments = ['generate', 'campaign.yaml', 'generation[0].n_seeds=100000']
    process = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    try:
        # The processes have imported the package and generate seeds.
        while not any(worker.cpu_times().user > 2 for worker in psutil.Process(process.pid).children()):
            assert time.monotonic() < until
            time.sleep(0.05)
        yield process, psutil.Process(process.pid).children()
    finally:
        process.kill()


@pytest.mark.chaos
def test_ctrl_c_ends_with_status_130_and_leaves_no_file(generating):
    process, _ = generating
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, '', 'interrupted\n')
    assert os.listdir() == ['campaign.yaml']


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGKILL])
@pytest.mark.chaos
def test_no_process_outlives_the_program(generating, number):
    process, workers = generating
    process.send_signal(number)
    process.communicate(timeout=60)
    assert psutil.wait_procs(workers, timeout=30)[1] == []


def test_a_closed_pipe_is_not_reported_as_a_bug(campaign, program):
    shell = f'{program} config schema | head -c 1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(['bash', '-c', shell], capture_output=True, text=True, check=False)
    assert done.stdout == '{'
    assert 'bug' not in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize(
    ('arguments', 'name'),
    [
        (['--test-share', '0.1'], '--test-fraction'),
        (['--valid-share', '0.1'], '--valid-fraction'),
        (['--by', 'ancestor'], 'parent'),
    ],
)
def test_an_old_name_on_the_command_line_is_refused_with_the_new_name(run, arguments, name):
    result = run('dataset', 'split', 'cu.db', *arguments)
    assert result.exit_code == 2
    assert f'is now called {name}.' in ' '.join(result.stderr.replace('│', ' ').split())


@pytest.mark.chaos
def test_a_full_disk_is_reported_without_a_traceback(campaign, program):
    def limit_file_size():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    command = [program, 'generate', 'campaign.yaml', '-o', 'seeds.extxyz', 'generation[0].n_seeds=20']
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit_file_size)
    assert done.returncode == 2
    assert_refused(done.stderr, Code.FILE_UNWRITABLE)
    assert os.listdir() == ['campaign.yaml']


def full_database():
    """Return the error of a database whose disk is full, as SQLite raises it and as SQLAlchemy does."""
    with closing(sqlite3.connect(':memory:')) as connection:
        connection.execute('PRAGMA max_page_count = 2')
        connection.execute('CREATE TABLE rows (content)')
        with pytest.raises(sqlite3.OperationalError) as caught:
            connection.execute('INSERT INTO rows VALUES (zeroblob(100000))')
    return caught.value, DBAPIError.instance('INSERT', (), caught.value, sqlite3.Error)


@pytest.mark.parametrize('error', full_database())
def test_a_full_database_is_not_a_bug(run, campaign, monkeypatch, error):
    def fails(*arguments):
        raise error

    monkeypatch.setattr('aiida_mlip_autopipe.config.load_config', fails)
    result = run('config', 'check', 'campaign.yaml')
    assert result.exit_code == 2
    assert_refused(result.stderr, Code.FILE_UNWRITABLE, 'database or disk is full')
    assert 'INSERT' not in result.stderr


@pytest.mark.parametrize(
    'error', [OSError(errno.ENOSPC, 'no space'), OSError(errno.EDQUOT, 'over quota'), full_database()[0]]
)
def test_the_free_space_of_each_disk_is_reported_if_the_error_does_not_name_a_file(
    run, campaign, tmp_path, monkeypatch, error
):
    def fails(*arguments):
        raise error

    (tmp_path / 'small').mkdir()
    monkeypatch.setenv('TMPDIR', str(tmp_path / 'small'))
    monkeypatch.setattr('aiida_mlip_autopipe.config.load_config', fails)
    with SmallDisk(tmp_path / 'small', 20):
        result = run('config', 'check', 'campaign.yaml')
    assert_refused(result.stderr, Code.FILE_UNWRITABLE, os.getcwd(), f'20.5 kB in {tmp_path / "small"}')


@pytest.mark.parametrize(
    ('error', 'code', 'values'),
    [
        (OSError(errno.ENOSPC, 'No space left on device', 'x.db'), Code.FILE_UNWRITABLE, ['x.db']),
        (OSError(errno.EROFS, 'Read-only file system', '/home/me'), Code.FILE_UNWRITABLE, ['/home/me']),
        (PermissionError(errno.EACCES, 'Permission denied', '/root/x'), Code.FILE_UNREADABLE, ['/root/x']),
        (sqlite3.DatabaseError('file is not a database'), Code.FILE_UNREADABLE, ['file is not a database']),
    ],
)
def test_an_error_of_the_system_or_of_a_damaged_file_is_not_a_bug(run, campaign, monkeypatch, error, code, values):
    def fails(*arguments):
        raise error

    monkeypatch.setattr('aiida_mlip_autopipe.config.load_config', fails)
    result = run('config', 'check', 'campaign.yaml')
    assert result.exit_code == 2
    assert_refused(result.stderr, code, *values)


def test_a_refusal_quotes_only_the_beginning_of_a_long_value(run, campaign):
    result = run('config', 'check', f'{"x" * 70_000}.yaml')
    assert result.exit_code == 2
    assert len(result.stderr) < 2000


def test_control_characters_of_a_file_do_not_reach_the_terminal(run, empty_folder):
    (empty_folder / 'x.yaml').write_text('name: "a\\e[31m"\n"\\e]0;title\\a": 1\n')
    result = run('config', 'check', 'x.yaml')
    assert result.exit_code == 2
    assert '\x1b' not in result.stderr
    assert '\a' not in result.stderr
