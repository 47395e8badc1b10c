"""Disk space reserved for the result of a job. The tests in tests/cluster check on a full disk that it is enough."""

import pytest

from aiida_mlip_autopipe.jobs.reserve import RESERVED_BYTES, space_reserved


def fill(folder):
    with space_reserved(folder):
        (file,) = folder.iterdir()
        assert file.stat().st_blocks * 512 >= RESERVED_BYTES
        raise OSError('full')


def test_space_is_reserved_during_a_job_and_freed_even_after_an_error(tmp_path):
    with pytest.raises(OSError, match='full'):
        fill(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_job_frees_its_reserved_space(job_folder, copper):
    folder = job_folder().write(copper, {'temperature_K': 300, 'n_steps': 2})
    assert folder.run().outcome == 'completed'
    assert not [path for path in folder.path.iterdir() if path.name.startswith('.')]
