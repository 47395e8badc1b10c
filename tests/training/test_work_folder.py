import io
import tarfile

import pytest
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.training.contract import TRAINING_FILE, Epoch, Training
from aiida_mlip_autopipe.training.work_folder import pack_checkpoint, read_state, unpack_checkpoint, write_state

STATE = Training(trainer='sevennet', n_frames={'train': 3, 'valid': 1}, epochs=(Epoch(epoch=1, valid_loss=0.5),))


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / 'work'
    folder.mkdir()
    write_state(folder, STATE)
    (folder / 'epoch_1.pth').write_bytes(b'weights')
    return folder


def test_a_checkpoint_contains_the_state_and_the_files(work, tmp_path):
    pack_checkpoint(tmp_path / 'a.tar', [work / TRAINING_FILE, work / 'epoch_1.pth'])
    other = tmp_path / 'other'
    other.mkdir()
    unpack_checkpoint(tmp_path / 'a.tar', other)
    assert read_state(other) == STATE
    assert (other / 'epoch_1.pth').read_bytes() == b'weights'


def test_equal_states_give_equal_checkpoints(work, tmp_path):
    files = [work / TRAINING_FILE, work / 'epoch_1.pth']
    pack_checkpoint(tmp_path / 'a.tar', files)
    (work / 'epoch_1.pth').touch()
    pack_checkpoint(tmp_path / 'b.tar', files[::-1])
    assert (tmp_path / 'a.tar').read_bytes() == (tmp_path / 'b.tar').read_bytes()


def test_a_folder_without_training_has_no_state(tmp_path):
    assert read_state(tmp_path) is None


def test_damaged_and_empty_checkpoints_are_refused(work, tmp_path):
    pack_checkpoint(tmp_path / 'a.tar', [work / 'epoch_1.pth'])
    (tmp_path / 'b.tar').write_bytes(b'no archive')
    for name in ('a.tar', 'b.tar'):
        folder = tmp_path / f'{name}-folder'
        folder.mkdir()
        with refused(Code.CHECKPOINT_UNREADABLE):
            unpack_checkpoint(tmp_path / name, folder)


def test_a_forged_checkpoint_cannot_write_outside_the_folder(work, tmp_path):
    with tarfile.open(tmp_path / 'a.tar', 'w') as archive:
        archive.add(work / TRAINING_FILE, TRAINING_FILE)
        member = tarfile.TarInfo('../outside')
        member.size = 1
        archive.addfile(member, io.BytesIO(b'x'))
    folder = tmp_path / 'deep' / 'work'
    folder.mkdir(parents=True)
    unpack_checkpoint(tmp_path / 'a.tar', folder)
    assert not (tmp_path / 'deep' / 'outside').exists()
    assert (folder / 'outside').is_file()
