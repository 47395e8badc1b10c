"""Model files that were placed once on a computer: where they lie there, by the sha256 of their content.

What is known stands in the properties of AiiDA's computer, so that no connection is needed to look it up.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiida.orm import Computer

FOLDER = 'mlip_autopipe_model_folder'
PLACED = 'mlip_autopipe_models'


def model_folder(computer: Computer, home: str) -> str:
    """Return the folder for models on a computer, beside nothing that is purged: the user's home by default.

    Parameters
    ----------
    computer
        The computer.
    home
        The user's home there.
    """
    folder: str = computer.get_property(FOLDER, None) or str(PurePosixPath(home) / '.mlip-autopipe' / 'models')
    return folder


def find_model(computer: Computer, sha256: str | None) -> str | None:
    """Return the absolute path of a model on a computer; None where it was not placed there."""
    path: str | None = computer.get_property(PLACED, {}).get(sha256)
    return path


def note_model(computer: Computer, sha256: str, path: str) -> None:
    """Note where a model lies on a computer."""
    computer.set_property(PLACED, {**computer.get_property(PLACED, {}), sha256: path})
