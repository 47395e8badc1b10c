"""The sha256 of an image in the submission script."""

import hashlib
import os
import subprocess

import pytest
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.installation.images import engine_command, image_hash_script


@pytest.fixture
def run_script(tmp_path):
    """Return a function that runs the lines as a submission script does, and counts the calls of sha256sum."""
    programs = tmp_path / 'bin'
    programs.mkdir()
    calls = tmp_path / 'calls'
    counting = programs / 'sha256sum'
    counting.write_text(f'#!/bin/sh\necho >> {calls}\nexec /usr/bin/sha256sum "$@"\n')
    counting.chmod(0o755)

    def run(image):
        script = image_hash_script(str(image)) + '\necho "$MLIP_AUTOPIPE_IMAGE_SHA256"'
        environment = {'PATH': f'{programs}:{os.environ["PATH"]}', 'HOME': str(tmp_path / 'home')}
        output = subprocess.run(['bash', '-c', script], env=environment, capture_output=True, text=True, check=True)
        assert not output.stderr
        return output.stdout.strip(), len(calls.read_text().splitlines()) if calls.exists() else 0

    return run


def sha256(image):
    return hashlib.sha256(image.read_bytes()).hexdigest()


def test_an_image_is_hashed_again_only_after_a_change(run_script, tmp_path):
    image = tmp_path / 'an image.sif'
    image.write_bytes(b'first')
    assert run_script(image) == (sha256(image), 1)
    assert run_script(image) == (sha256(image), 1)
    # Other content of the same size, with the old modification time.
    before = image.stat()
    image.write_bytes(b'other')
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run_script(image) == (sha256(image), 2)


def test_the_sha256_is_stored_in_the_home_if_the_folder_of_the_image_is_not_writable(run_script, tmp_path):
    folder = tmp_path / 'shared'
    folder.mkdir()
    image = folder / 'x.sif'
    image.write_bytes(b'shared')
    # A folder with the name of the file cannot be overwritten, not even by root.
    (folder / '.x.sif.sha256').mkdir()
    (folder / '.x.sif.sha256' / 'kept').touch()
    first = run_script(image)
    assert first == (sha256(image), 1)
    assert run_script(image) == first


def test_a_missing_image_has_no_sha256(run_script, tmp_path):
    assert run_script(tmp_path / 'missing.sif') == ('', 0)


def test_a_folder_for_models_with_a_space_in_its_path_is_refused():
    with refused(Code.VALUE_INVALID, '/home/me/my models'):
        engine_command('/home/me/my models')
