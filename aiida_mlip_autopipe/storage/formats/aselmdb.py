"""Write the database format that fairchem trains on: ASE rows in one LMDB file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage.checked_pairs import CheckOnce
from aiida_mlip_autopipe.storage.dataset import to_entry
from aiida_mlip_autopipe.storage.formats.one_level import require_one_level
from aiida_mlip_autopipe.structures.rows.row import Row


def write_aselmdb(path: Path, rows: Iterable[Row]) -> int:
    """Write rows to a file that fairchem's ``AseDBDataset`` reads.

    The ``sid`` of a row contains its seed, its step and the beginning of the UUID of its run.

    Labels are stored exactly, as calculator results: energy in eV, forces in eV/Å and stress in eV/Å³, with ASE's sign
    convention and Voigt order. Fixed atoms stay fixed, and the forces on them are kept.

    Parameters
    ----------
    path
        The file to write. It must not exist.
    rows
        Rows with the same level of theory.

    Returns
    -------
    int
        Number of rows written.

    Raises
    ------
    AutopipeError
        If ``ase-db-backends`` is not installed, a row has no labels, or the levels of theory differ.
    """
    try:
        from ase_db_backends.aselmdb import LMDBDatabase, encode_key, encode_object
    except ImportError:
        raise AutopipeError(
            Code.PACKAGE_MISSING,
            f'writing {path.name} requires ase-db-backends: pip install "aiida-mlip-autopipe[fairchem]"',
        ) from None

    class Database(CheckOnce, LMDBDatabase):  # type: ignore[misc]
        # The backend reads the next id from the file for each row.
        _nextid = 1

        def __init__(self, path: Path):
            super().__init__(path, use_lock_file=False)
            self.ids = _AnyId()

    n_rows = 0
    with Database(path) as database:
        for index, row in enumerate(require_one_level(rows)):
            _ = row.labels
            pairs = row.key_value_pairs
            run = f'_{pairs["exploration"][:8]}' if 'exploration' in pairs else ''
            data = {'sid': f'{pairs.get("seed", "row")}_{pairs.get("step", index)}{run}', **row.data}
            database.write(to_entry(row, f'row {index}'), pairs, data)
            n_rows += 1
            database._nextid = n_rows + 1
        if n_rows:
            next_id = encode_object(n_rows + 1, compress=True, json_encode=True)
            database.txn.put(encode_key('nextid'), next_id)
    return n_rows


class _AnyId:
    """Contains all ids, so that the backend does not store the next id after each row of a new file."""

    def __contains__(self, row_id: object) -> bool:
        return True
