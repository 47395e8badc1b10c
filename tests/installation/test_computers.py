import pytest
from aiida import orm

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.installation.computers import Site, add_computer, explain, load_computer

HPC = Site('hpc', 'hpc', 'slurm')


@pytest.mark.parametrize(
    ('message', 'words'),
    [
        ('OSError: Error while opening the transport: [Errno -2] Name or service not known', 'add a Host entry'),
        ('OSError: Host key is not trusted for host hpc', 'run `ssh hpc` once'),
        ('OSError: Permission denied for user me on host hpc', 'copy your key there'),
        ("OSError: [Errno 111] Connect call failed ('127.0.0.1', 2222)", 'no SSH server listens on hpc'),
        ('TimeoutError: timed out', 'does not answer'),
        ('SchedulerError: retval=127 stderr=bash: line 1: squeue: command not found', 'the commands of slurm'),
        ('the command `echo -n` returned unexpected output', 'print something'),
        ('what nobody knows', 'what nobody knows'),
    ],
)
def test_what_is_wrong_with_a_computer_is_said_in_plain_words(message, words):
    assert words in explain(message, HPC)
    assert message in explain(message, HPC)


def test_a_computer_is_written_tested_and_written_anew(aiida_profile, tmp_path):
    site = Site('here', 'localhost', 'direct', str(tmp_path / 'work'), 3.0, 0.0)
    computer, troubles = add_computer(site)
    assert troubles == []
    assert (tmp_path / 'work').is_dir()
    assert computer.get_minimum_job_poll_interval() == 3.0
    assert computer.get_use_double_quotes()
    assert computer.get_configuration()['safe_interval'] == 0.0
    again, _ = add_computer(Site('here', 'localhost', 'direct', str(tmp_path / 'other'), 5.0, 0.0))
    assert again.pk == computer.pk
    assert load_computer('here').get_minimum_job_poll_interval() == 5.0
    with pytest.raises(AutopipeError, match=r"a computer 'here' already, with localhost, core\.local, core\.direct"):
        add_computer(Site('here', 'hpc', 'slurm'))


def test_a_computer_that_cannot_work_is_not_kept(aiida_profile, tmp_path):
    (tmp_path / 'file').touch()
    _, troubles = add_computer(Site('broken', 'localhost', 'lsf', str(tmp_path / 'file' / 'work'), 1.0, 0.0))
    assert 'cannot be made' in troubles[0]
    assert 'the commands of lsf are not found' in troubles[1]
    assert 'broken' not in orm.QueryBuilder().append(orm.Computer, project='label').all(flat=True)


def test_what_is_not_known_is_told_with_what_there_is(aiida_profile):
    with pytest.raises(AutopipeError, match='there are slurm, pbspro'):
        add_computer(Site('x', 'x', 'slum'))
    with pytest.raises(AutopipeError, match="no computer 'gone'"):
        load_computer('gone')
