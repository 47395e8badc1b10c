"""The paths of model files on a computer, by the sha256 of their content.

They are stored as properties of the AiiDA computer, so that a look-up needs no connection.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiida.orm import Computer

FOLDER = 'mlip_autopipe_model_folder'
PLACED = 'mlip_autopipe_models'


def model_folder(computer: Computer, home: str) -> str:
    """Return the folder for models on a computer. The default is in the home directory, which is usually not purged.

    Parameters
    ----------
    computer
        The computer.
    home
        The user's home directory on the computer.
    """
    folder: str = computer.get_property(FOLDER, None) or str(PurePosixPath(home) / '.mlip-autopipe' / 'models')
    return folder


def find_model(computer: Computer, sha256: str | None) -> str | None:
    """Return the absolute path of a model on a computer; None if it was not placed there."""
    path: str | None = computer.get_property(PLACED, {}).get(sha256)
    return path


def record_model(computer: Computer, sha256: str, path: str) -> None:
    """Record the path of a model on a computer."""
    computer.set_property(PLACED, {**computer.get_property(PLACED, {}), sha256: path})
