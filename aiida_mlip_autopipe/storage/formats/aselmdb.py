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
        from ase_db_backends.aselmdb import LMDBDatabase
    except ImportError:
        raise AutopipeError(
            Code.PACKAGE_MISSING,
            f'writing {path.name} requires ase-db-backends: pip install "aiida-mlip-autopipe[fairchem]"',
        ) from None

    class Database(CheckOnce, LMDBDatabase):  # type: ignore[misc]
        def __init__(self, path: Path):
            super().__init__(path, use_lock_file=False)
            self.ids: list[int] = _NewIds()

    n_rows = 0
    with Database(path) as database:
        for index, row in enumerate(require_one_level(rows)):
            _ = row.labels
            pairs = row.key_value_pairs
            run = f'_{pairs["exploration"][:8]}' if 'exploration' in pairs else ''
            data = {'sid': f'{pairs.get("seed", "row")}_{pairs.get("step", index)}{run}', **row.data}
            database.write(to_entry(row, f'row {index}'), pairs, data)
            n_rows += 1
    return n_rows


class _NewIds(list[int]):
    """The ids of the rows of a new file, 1, 2, 3, …, among which the backend searches the id of each new row."""

    def __contains__(self, row_id: object) -> bool:
        return isinstance(row_id, int) and 1 <= row_id <= len(self)
