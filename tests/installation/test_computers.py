import pytest
from aiida import orm
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.installation.computers import Site, add_computer, error_from_message, load_computer

HPC = Site('hpc', 'cluster.org', 'slurm')


@pytest.mark.parametrize(
    ('message', 'code', 'values'),
    [
        (
            'OSError: Error while opening the transport: [Errno -2] Name or service not known',
            Code.HOST_UNKNOWN,
            ['cluster.org', '~/.ssh/config', 'ssh cluster.org'],
        ),
        ('OSError: Host key is not trusted for host', Code.HOST_KEY_UNKNOWN, ['cluster.org', 'ssh cluster.org']),
        ('OSError: Permission denied for user me on host', Code.LOGIN_REFUSED, ['cluster.org', 'ssh cluster.org']),
        (
            "OSError: [Errno 111] Connect call failed ('127.0.0.1', 2222)",
            Code.HOST_UNREACHABLE,
            ['cluster.org', 'HostName', 'Port', '~/.ssh/config'],
        ),
        ('TimeoutError: timed out', Code.HOST_UNREACHABLE, ['cluster.org', 'VPN']),
        (
            'SchedulerError: retval=127 stderr=bash: line 1: squeue: command not found',
            Code.SCHEDULER_MISSING,
            ['slurm', 'cluster.org', '~/.bash_profile'],
        ),
        ('the command `echo -n` returned unexpected output', Code.LOGIN_OUTPUT, ['cluster.org', '~/.bashrc']),
        ('an error that is not in the table', Code.COMPUTER_TEST_FAILED, []),
    ],
)
def test_an_error_of_ssh_or_the_scheduler_is_explained(message, code, values):
    error = error_from_message(message, HPC)
    assert error.code == code
    assert all(value in str(error) for value in [message, *values])


def test_a_computer_is_added_tested_and_updated(aiida_profile, tmp_path):
    site = Site('here', 'localhost', 'direct', str(tmp_path / 'work'), 3.0, 0.0)
    computer, errors = add_computer(site)
    assert errors == []
    assert (tmp_path / 'work').is_dir()
    assert computer.get_minimum_job_poll_interval() == 3.0
    assert computer.get_use_double_quotes()
    assert computer.get_configuration()['safe_interval'] == 0.0
    updated, _ = add_computer(Site('here', 'localhost', 'direct', str(tmp_path / 'other'), 5.0, 0.0))
    assert updated.pk == computer.pk
    assert load_computer('here').get_minimum_job_poll_interval() == 5.0
    with refused(Code.COMPUTER_EXISTS, "'here'", 'localhost, core.local, core.direct', 'verdi computer delete here'):
        add_computer(Site('here', 'hpc', 'slurm'))


def test_a_new_computer_that_fails_a_test_is_deleted(aiida_profile, tmp_path):
    (tmp_path / 'file').touch()
    _, errors = add_computer(Site('broken', 'localhost', 'lsf', str(tmp_path / 'file' / 'work'), 1.0, 0.0))
    assert [error.code for error in errors][:2] == [Code.WORKDIR_UNWRITABLE, Code.SCHEDULER_MISSING]
    assert str(tmp_path / 'file' / 'work') in str(errors[0])
    assert 'lsf' in str(errors[1])
    assert 'broken' not in orm.QueryBuilder().append(orm.Computer, project='label').all(flat=True)


def test_an_unknown_scheduler_or_computer_is_refused(aiida_profile):
    with refused(Code.CHOICE_UNKNOWN, "'slum'", 'slurm, pbspro'):
        add_computer(Site('x', 'x', 'slum'))
    with refused(Code.COMPUTER_MISSING, "'missing'", 'mlip-autopipe computer add missing'):
        load_computer('missing')
