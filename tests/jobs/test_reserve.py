"""Space for the last words of a job; that it suffices on a full disk is tried on a real one in tests/cluster."""

import pytest

from aiida_mlip_autopipe.jobs.reserve import RESERVED_BYTES, space_reserved


def fill(folder):
    with space_reserved(folder):
        (file,) = folder.iterdir()
        assert file.stat().st_blocks * 512 >= RESERVED_BYTES
        raise OSError('full')


def test_space_is_taken_while_the_job_works_and_given_back_however_it_ends(tmp_path):
    with pytest.raises(OSError, match='full'):
        fill(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_job_leaves_no_reserve_behind(job_folder, copper):
    folder = job_folder().write(copper, {'temperature_K': 300, 'n_steps': 2})
    assert folder.run().outcome == 'completed'
    assert not [path for path in folder.path.iterdir() if path.name.startswith('.')]
