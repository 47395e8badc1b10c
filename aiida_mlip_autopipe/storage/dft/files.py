"""The files of DFT calculations that are read."""

from __future__ import annotations

import json
from pathlib import Path

from aiida_mlip_autopipe.storage.dft.inputs import CODES
from aiida_mlip_autopipe.storage.dft.isolated_atoms import ATOM_FILE
from aiida_mlip_autopipe.storage.imports.levels import ID_FILE


def list_files(folder: Path) -> list[Path]:
    """Return the files from which `label_rows` reads labels: those that identify calculations, and their outputs.

    Parameters
    ----------
    folder
        Folder of calculations whose inputs this program wrote.
    """
    found = []
    for about in sorted(path for name in (ID_FILE, ATOM_FILE) for path in folder.rglob(name)):
        output = about.with_name(CODES[json.loads(about.read_text())['code']].output)
        found += [about, *([output] if output.is_file() else [])]
    return found
