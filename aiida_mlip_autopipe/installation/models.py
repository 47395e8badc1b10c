"""Model files on a computer: put there once, found again by the sha256 of their content."""

from __future__ import annotations

import shlex
from pathlib import Path, PurePosixPath

from aiida import orm

from aiida_mlip_autopipe.errors import AutopipeError
from aiida_mlip_autopipe.hashing import file_sha256
from aiida_mlip_autopipe.installation.computers import home_folder
from aiida_mlip_autopipe.model_store import model_folder, note_model


def ensure_model_folder(computer: orm.Computer) -> str:
    """Return the folder for models on a computer, made if there is none."""
    with computer.get_transport() as transport:
        folder = model_folder(computer, home_folder(transport))
        transport.makedirs(folder, ignore_existing=True)
    return folder


def place_model(computer: orm.Computer, model: Path) -> tuple[str, bool]:
    """Put a model file on a computer, where jobs will find it.

    Parameters
    ----------
    computer
        The computer.
    model
        The file on this machine.

    Returns
    -------
    tuple
        Its path on the computer, and whether it was copied: one that lies there already is only checked.

    Raises
    ------
    AutopipeError
        If there is no such file, or what arrived is not the same.
    """
    if not model.is_file():
        raise AutopipeError(f'there is no model file {model}')
    sha256 = file_sha256(model)
    with computer.get_transport() as transport:
        folder = PurePosixPath(model_folder(computer, home_folder(transport)), sha256[:16])
        path = str(folder / model.name)
        copied = _remote_sha256(transport, path) != sha256
        if copied:
            transport.makedirs(str(folder), ignore_existing=True)
            unfinished = f'{path}.part'
            transport.put(str(model.absolute()), unfinished)
            found = _remote_sha256(transport, unfinished)
            if found != sha256:
                raise AutopipeError(f'{unfinished} on {computer.label} has the sha256 {found}, not {sha256}: try again')
            if transport.isfile(path):
                transport.remove(path)
            transport.rename(unfinished, path)
    note_model(computer, sha256, path)
    return path, copied


def _remote_sha256(transport: orm.Computer, path: str) -> str | None:
    status, output, _ = transport.exec_command_wait(f'sha256sum {shlex.quote(path)}')
    return None if status else str(output.split()[0])
