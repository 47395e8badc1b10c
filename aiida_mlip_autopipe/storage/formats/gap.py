"""Write extended XYZ files from which ``gap_fit`` trains Gaussian approximation potentials (GAP)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from aiida_mlip_autopipe.storage.formats.extxyz import config_type
from aiida_mlip_autopipe.storage.formats.losses import kind_of, virial
from aiida_mlip_autopipe.storage.formats.xyz_text import numbers, write_frame
from aiida_mlip_autopipe.structures.rows.row import Row

# gap_fit takes the energies of isolated atoms from frames of this type.
ISOLATED_ATOM = 'isolated_atom'


def write_gap(path: Path, rows: Iterable[Row]) -> int:
    """Write frames with ``energy`` (eV), ``force`` (eV/Å) and ``virial`` (eV, positive for a compressed crystal).

    These are the default names of gap_fit. ``config_type`` is ``isolated_atom`` for an isolated atom;
    otherwise, see `config_type`. Each frame also contains its seed, its step and its level of theory.

    Parameters
    ----------
    path
        The file to write.
    rows
        Rows that are periodic in all directions, because QUIP treats every cell in this way.

    Returns
    -------
    int
        Number of rows written.
    """
    n_rows = 0
    with path.open('w') as file:
        for row in rows:
            labels, found = row.labels, virial(row)
            entries = {'config_type': ISOLATED_ATOM if kind_of(row) == 'atom' else config_type(row)}
            entries['energy'] = f'{labels["energy"]:.10f}'
            if found is not None:
                entries['virial'] = numbers(found)
            for key in ('seed', 'step', 'label_source', 'level'):
                if key in row.key_value_pairs:
                    entries[key] = str(row.key_value_pairs[key])
            write_frame(file, row.atoms, labels['forces'], entries, name='force')
            n_rows += 1
    return n_rows
