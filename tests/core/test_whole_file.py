import os

import pytest

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.whole_file import whole_file


def test_a_file_appears_only_when_all_of_it_is_written(tmp_path):
    path = tmp_path / 'out.txt'
    with whole_file(path, overwrite=False) as unfinished:
        unfinished.write_text('new')
        assert not path.exists()
    assert path.read_text() == 'new'
    assert os.listdir(tmp_path) == ['out.txt']


def test_after_an_error_the_earlier_file_is_as_it_was(tmp_path):
    path = tmp_path / 'out.txt'
    path.write_text('old')

    def write_half():
        with whole_file(path, overwrite=True) as unfinished:
            unfinished.write_text('half')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['out.txt']


@pytest.mark.parametrize(
    ('name', 'sentence'),
    [('old.txt', 'exists already'), ('folder', 'is a folder'), ('nowhere/out.txt', 'there is no folder')],
)
def test_what_may_not_be_written_is_refused_before_the_block_runs(tmp_path, name, sentence):
    (tmp_path / 'old.txt').write_text('old')
    (tmp_path / 'folder').mkdir()
    with pytest.raises(AutopipeError, match=sentence), whole_file(tmp_path / name, overwrite=False):
        pytest.fail('the block ran')
