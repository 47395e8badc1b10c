"""Model files on a computer: copied once, and found by the sha256 of their content."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from aiida import orm

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, ModelMissingError
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.data.model_store import find_model, model_folder, record_model
from aiida_mlip_autopipe.installation.codes import is_local
from aiida_mlip_autopipe.installation.computers import home_folder


def ensure_model_folder(computer: orm.Computer) -> str:
    """Return the folder for models on a computer; create it if needed."""
    with computer.get_transport() as transport:
        folder = model_folder(computer, home_folder(transport))
        transport.makedirs(folder, ignore_existing=True)
    return folder


def place_model(computer: orm.Computer, model: Path) -> tuple[str, bool]:
    """Copy a model file to a computer, where jobs will find it.

    Parameters
    ----------
    computer
        The computer.
    model
        The file on this machine.

    Returns
    -------
    tuple
        Its path on the computer, and whether it was copied: a file that is already there is only verified.

    Raises
    ------
    AutopipeError
        If the file does not exist, or the copy differs from it.
    """
    if not model.is_file():
        raise AutopipeError(Code.FILE_MISSING, f'the model file {model} does not exist')
    sha256 = file_sha256(model)
    with computer.get_transport() as transport:
        folder = model_folder(computer, home_folder(transport))
        recorded = _find_intact(computer, transport, sha256, folder)
        if recorded is not None:
            return recorded, False
        return _copy(computer, transport, model, sha256, folder)


def ensure_placed(model: ModelData, code: orm.AbstractCode, file: Path | None = None) -> tuple[str, bool] | None:
    """Copy a model to the computer of a code, unless it is there already.

    Parameters
    ----------
    model
        The model.
    code
        The code that runs it.
    file
        A file on this machine with the content of the model, for a model whose node does not store the bytes. Jobs on
        this machine read this file directly.

    Returns
    -------
    tuple or None
        Its path on the code's computer, and whether it was copied; None for a shipped model, which is part of the code.

    Raises
    ------
    ModelMissingError
        If the model is neither on the computer nor stored, and the file is missing or has different content.
    AutopipeError
        If the copy differs from the model.
    """
    if model.is_shipped:
        return None
    computer, reads_in_place = code.computer, not model.has_bytes and is_local(code)
    with computer.get_transport() as transport:
        folder = model_folder(computer, home_folder(transport))
        recorded = _find_intact(computer, transport, model.sha256, None if reads_in_place else folder)
        if recorded is not None:
            return recorded, False
        with _local_file(model, file, computer) as source:
            if not reads_in_place:
                return _copy(computer, transport, source, model.sha256, folder)
            record_model(computer, model.sha256, str(source.absolute()))
            return str(source.absolute()), False


@contextmanager
def _local_file(model: ModelData, file: Path | None, computer: orm.Computer) -> Iterator[Path]:
    """Yield a file on this machine with the content of a model."""
    if model.has_bytes:
        with TemporaryDirectory() as folder:
            yield model.write(Path(folder))
    elif file is not None and file.is_file() and file_sha256(file) == model.sha256:
        yield file
    else:
        raise ModelMissingError(model.sha256, computer.label)


def _find_intact(computer: orm.Computer, transport: orm.Computer, sha256: str, folder: str | None) -> str | None:
    """Return the recorded path of a model if the file is intact and, if a folder is passed, lies in it."""
    recorded = find_model(computer, sha256)
    if recorded is None or (folder is not None and PurePosixPath(folder) not in PurePosixPath(recorded).parents):
        return None
    return recorded if _remote_sha256(transport, recorded) == sha256 else None


def _copy(computer: orm.Computer, transport: orm.Computer, source: Path, sha256: str, folder: str) -> tuple[str, bool]:
    """Copy a file atomically to the folder for models if needed; return its path there and whether it was copied."""
    place = str(PurePosixPath(folder, sha256[:16], source.name))
    exists = _remote_sha256(transport, place) == sha256
    if not exists:
        transport.makedirs(str(PurePosixPath(place).parent), ignore_existing=True)
        unfinished = f'{place}.{uuid.uuid4().hex[:8]}.part'
        transport.put(str(source.absolute()), unfinished)
        found = _remote_sha256(transport, unfinished)
        if found != sha256:
            raise AutopipeError(
                Code.TRANSFER_DAMAGED,
                f'the copy {unfinished} on {computer.label} has the sha256 {found}, not {sha256}; try again',
            )
        if transport.isfile(place):
            transport.remove(place)
        transport.rename(unfinished, place)
    record_model(computer, sha256, place)
    return place, not exists


def _remote_sha256(transport: orm.Computer, path: str) -> str | None:
    status, output, _ = transport.exec_command_wait(f'sha256sum {shlex.quote(path)}')
    # sha256sum prints a backslash before the checksum if the file name contains one.
    return None if status else str(output.split()[0]).lstrip('\\')
