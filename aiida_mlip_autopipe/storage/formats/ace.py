"""Write the pickled tables from which pacemaker trains atomic cluster expansion (ACE) potentials."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

from ase import Atoms

from aiida_mlip_autopipe.storage.formats.losses import knows_isolated_atoms
from aiida_mlip_autopipe.structures.rows.row import Row, isolated_atom_energies


def write_ace(path: Path, rows: Iterable[Row]) -> int:
    """Write a table with ``ase_atoms``, ``energy`` (eV), ``forces`` (eV/Å), ``energy_corrected`` and ``name``.

    ``energy_corrected`` is the energy minus those of the isolated atoms. If a row does not contain these, the
    column is absent, and pacemaker requires ``reference_energy`` in its input. ``name`` consists of the seed and the
    step. pacemaker does not train on stresses.

    Parameters
    ----------
    path
        The file to write.
    rows
        Rows that are periodic in all directions or in none.

    Returns
    -------
    int
        Number of rows written.
    """
    import pandas as pd

    table: dict[str, list[object]] = {'ase_atoms': [], 'energy': [], 'forces': [], 'name': []}
    kept: list[Row] = []
    for index, row in enumerate(rows):
        atoms, labels, pairs = row.atoms, row.labels, row.key_value_pairs
        kept.append(row)
        # Only the structure, so that any version of ASE can read it.
        table['ase_atoms'].append(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc))
        table['energy'].append(float(labels['energy']))
        table['forces'].append(labels['forces'])
        table['name'].append(f'{pairs.get("seed", "row")}_{pairs.get("step", index)}')
    isolated = isolated_atom_energies(kept) if all(map(knows_isolated_atoms, kept)) else None
    if isolated is not None:
        references = (sum(isolated[symbol] for symbol in row.atoms.symbols) for row in kept)
        table['energy_corrected'] = [row.labels['energy'] - one for row, one in zip(kept, references, strict=True)]
    frame = pd.DataFrame(table, columns=pd.Index(list(table), dtype=object)).astype({'name': object})
    # Without a name and a time in the file, the same rows give the same bytes.
    with path.open('wb') as file, gzip.GzipFile('', 'wb', compresslevel=3, fileobj=file, mtime=0) as compressed:
        # pacemaker's documentation asks for this protocol.
        frame.to_pickle(compressed, compression=None, protocol=4)
    return len(kept)
