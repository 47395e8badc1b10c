import os
from functools import partial

import pytest
from support.errors import refused

from aiida_mlip_autopipe.core.atomic_write import atomic_write, new_folder
from aiida_mlip_autopipe.core.codes import Code


@pytest.mark.chaos
def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / 'out.txt'
    with atomic_write(path, overwrite=False) as unfinished:
        unfinished.write_text('new')
        assert not path.exists()
    assert path.read_text() == 'new'
    assert os.listdir(tmp_path) == ['out.txt']


@pytest.mark.chaos
def test_an_error_leaves_the_existing_file_unchanged(tmp_path):
    path = tmp_path / 'out.txt'
    path.write_text('old')

    def write_half():
        with atomic_write(path, overwrite=True) as unfinished:
            unfinished.write_text('half')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['out.txt']


@pytest.mark.parametrize(
    ('name', 'code', 'value'),
    [
        ('old.txt', Code.FILE_EXISTS, 'old.txt'),
        ('folder', Code.NOT_A_FILE, 'folder'),
        ('nowhere/out.txt', Code.FOLDER_MISSING, 'nowhere'),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_the_block_runs(tmp_path, name, code, value):
    (tmp_path / 'old.txt').write_text('old')
    (tmp_path / 'folder').mkdir()
    with refused(code, str(tmp_path / value)), atomic_write(tmp_path / name, overwrite=False):
        pytest.fail('the block ran')


def test_a_broken_link_is_an_existing_file(tmp_path):
    (tmp_path / 'link').symlink_to('nowhere')
    with refused(Code.FILE_EXISTS, 'link'), atomic_write(tmp_path / 'link', overwrite=False):
        pytest.fail('the block ran')
    with refused(Code.FOLDER_EXISTS, 'link'), new_folder(tmp_path / 'link'):
        pytest.fail('the block ran')


@pytest.mark.parametrize('write', [partial(atomic_write, overwrite=False), new_folder])
def test_a_name_that_the_file_system_refuses_is_reported(tmp_path, write):
    with refused(Code.FILE_UNWRITABLE, 'long'), write(tmp_path / ('long' * 63)):
        pytest.fail('the block ran')


def test_a_link_or_a_device_is_never_overwritten(tmp_path):
    (tmp_path / 'target.txt').write_text('old')
    link = tmp_path / 'link.txt'
    link.symlink_to('target.txt')
    pipe = tmp_path / 'pipe.txt'
    os.mkfifo(pipe)
    for path, value in ((link, 'target.txt'), (pipe, 'pipe.txt')):
        with refused(Code.NOT_A_FILE, value), atomic_write(path, overwrite=True):
            pass
    assert (tmp_path / 'target.txt').read_text() == 'old'
    assert link.is_symlink()
