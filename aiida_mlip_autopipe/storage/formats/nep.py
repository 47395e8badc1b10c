"""Write the ``train.xyz`` of GPUMD, from which it trains neuroevolution potentials (NEP)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from aiida_mlip_autopipe.storage.formats.extxyz import config_type
from aiida_mlip_autopipe.storage.formats.losses import virial
from aiida_mlip_autopipe.storage.formats.xyz_text import numbers, write_frame
from aiida_mlip_autopipe.structures.rows.row import Row


def write_nep(path: Path, rows: Iterable[Row]) -> int:
    """Write frames with ``energy`` (eV), ``force`` (eV/Å) and ``virial`` (eV, positive for a compressed crystal).

    GPUMD reads other entries, such as ``temperature``, as settings of a frame, so the only other entry is
    ``config_type``, as in `config_type`.

    Parameters
    ----------
    path
        The file to write.
    rows
        Rows that are periodic in all directions, because GPUMD treats every frame in this way.

    Returns
    -------
    int
        Number of rows written.
    """
    n_rows = 0
    with path.open('w') as file:
        for row in rows:
            labels, found = row.labels, virial(row)
            entries = {'energy': f'{labels["energy"]:.10f}'}
            if found is not None:
                entries['virial'] = numbers(found)
            entries['config_type'] = config_type(row)
            write_frame(file, row.atoms, labels['forces'], entries, name='force')
            n_rows += 1
    return n_rows
