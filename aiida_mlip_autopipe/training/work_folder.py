"""The work folder of a training run: its state, and the checkpoint from which another job continues."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from aiida_mlip_autopipe.core.atomic_write import atomic_write
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.jobs.job_file import JobRefusedError
from aiida_mlip_autopipe.training.contract import TRAINING_FILE, Training


def read_state(folder: Path) -> Training | None:
    """Return the state of the training in a folder; None if it has not started."""
    path = folder / TRAINING_FILE
    return Training.model_validate_json(path.read_bytes()) if path.is_file() else None


def write_state(folder: Path, state: Training) -> None:
    """Write the state of a training run atomically."""
    temporary = folder / f'{TRAINING_FILE}.new'
    temporary.write_text(state.model_dump_json(indent=1) + '\n')
    os.replace(temporary, folder / TRAINING_FILE)


def pack_checkpoint(target: Path, files: Iterable[Path]) -> None:
    """Write the state and the checkpoints of the trainer to one file.

    Parameters
    ----------
    target
        The file.
    files
        Files of one folder.
    """
    with atomic_write(target, overwrite=True) as unfinished, tarfile.open(unfinished, 'w') as archive:
        for file in sorted(files):
            content = file.read_bytes()
            # Without times and owners, equal states give equal files.
            member = tarfile.TarInfo(file.name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def unpack_checkpoint(source: Path, folder: Path) -> None:
    """Write the files of a checkpoint to a folder.

    Raises
    ------
    JobRefusedError
        If the checkpoint is damaged.
    """
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                content = archive.extractfile(member)
                if content is not None:
                    # Only the name of a file is used, so that a forged archive cannot write elsewhere.
                    (folder / Path(member.name).name).write_bytes(content.read())
        state = read_state(folder)
    except (OSError, tarfile.TarError, ValidationError) as error:
        raise JobRefusedError(Code.CHECKPOINT_UNREADABLE, f'the checkpoint cannot be read: {error}') from error
    if state is None:
        raise JobRefusedError(Code.CHECKPOINT_UNREADABLE, 'the checkpoint contains no state of a training run')
