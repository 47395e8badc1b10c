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
        The state and the other files of a folder.
    """
    with atomic_write(target, overwrite=True) as unfinished, tarfile.open(unfinished, 'w') as archive:
        # The state is the last file. If it can be read, the archive is complete.
        for file in sorted(files, key=lambda path: (path.name == TRAINING_FILE, path.name)):
            content = file.read_bytes()
            # Without times and owners, equal states give equal files.
            member = tarfile.TarInfo(file.name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def read_checkpoint(source: Path) -> Training:
    """Read a checkpoint completely, and return its state.

    Raises
    ------
    JobRefusedError
        If the checkpoint is damaged.
    """
    content = _read(source)
    if TRAINING_FILE not in content:
        raise JobRefusedError(Code.CHECKPOINT_UNREADABLE, 'the checkpoint contains no state of a training run')
    try:
        return Training.model_validate_json(content[TRAINING_FILE])
    except ValidationError as error:
        raise _damaged(error) from error


def unpack_checkpoint(source: Path, folder: Path) -> None:
    """Write the files of a checkpoint to a folder.

    Raises
    ------
    JobRefusedError
        If the checkpoint is damaged. In that case, nothing is written.
    """
    read_checkpoint(source)
    # The state is the last file, so a folder with a state is complete.
    for name, data in sorted(_read(source).items(), key=lambda item: item[0] == TRAINING_FILE):
        (folder / name).write_bytes(data)


def _read(source: Path) -> dict[str, bytes]:
    """Return the content of the files of a checkpoint."""
    content = {}
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is not None:
                    # Only the name of a file is used, so that a forged archive cannot write elsewhere.
                    content[Path(member.name).name] = file.read()
    except (OSError, tarfile.TarError) as error:
        raise _damaged(error) from error
    return content


def _damaged(error: Exception) -> JobRefusedError:
    return JobRefusedError(Code.CHECKPOINT_UNREADABLE, f'the checkpoint cannot be read: {error}')
