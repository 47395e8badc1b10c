"""How the submission script learns the sha256 of an image."""

import hashlib
import os
import subprocess

import pytest
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.installation.images import engine_command, tell_image_hash


@pytest.fixture
def told(tmp_path):
    """Return a function that runs the lines as a job's script does, with a sha256sum that counts its calls."""
    programs = tmp_path / 'bin'
    programs.mkdir()
    calls = tmp_path / 'calls'
    counting = programs / 'sha256sum'
    counting.write_text(f'#!/bin/sh\necho >> {calls}\nexec /usr/bin/sha256sum "$@"\n')
    counting.chmod(0o755)

    def run(image):
        script = tell_image_hash(str(image)) + '\necho "$MLIP_AUTOPIPE_IMAGE_SHA256"'
        environment = {'PATH': f'{programs}:{os.environ["PATH"]}', 'HOME': str(tmp_path / 'home')}
        output = subprocess.run(['bash', '-c', script], env=environment, capture_output=True, text=True, check=True)
        assert not output.stderr
        return output.stdout.strip(), len(calls.read_text().splitlines()) if calls.exists() else 0

    return run


def sha256(image):
    return hashlib.sha256(image.read_bytes()).hexdigest()


def test_an_image_is_hashed_once_and_again_when_it_has_changed(told, tmp_path):
    image = tmp_path / 'an image.sif'
    image.write_bytes(b'first')
    assert told(image) == (sha256(image), 1)
    assert told(image) == (sha256(image), 1)
    # Another content of the same size, and its time of modification set back.
    before = image.stat()
    image.write_bytes(b'other')
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert told(image) == (sha256(image), 2)


def test_where_the_images_folder_is_not_ours_the_note_stands_at_home(told, tmp_path):
    folder = tmp_path / 'shared'
    folder.mkdir()
    image = folder / 'x.sif'
    image.write_bytes(b'shared')
    # A folder in the note's place cannot be written to, not even by root.
    (folder / '.x.sif.sha256').mkdir()
    (folder / '.x.sif.sha256' / 'kept').touch()
    first = told(image)
    assert first == (sha256(image), 1)
    assert told(image) == first


def test_of_an_image_that_is_missing_nothing_is_told(told, tmp_path):
    assert told(tmp_path / 'gone.sif') == ('', 0)


def test_a_folder_of_models_with_a_space_is_refused_since_no_quote_survives_on_the_way_to_the_engine():
    with refused(Code.VALUE_INVALID, '/home/me/my models'):
        engine_command('/home/me/my models')
