"""The node of a dataset: a file of structures with labels, identified by its content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path

from aiida import orm
from ase import Atoms

from aiida_mlip_autopipe.aiida_internals import hash_by_attributes
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.data.schema_version import check_schema, set_schema
from aiida_mlip_autopipe.storage import Row
from aiida_mlip_autopipe.storage.dataset import read_rows

DATASET_NODE_VERSION = 1
"""Version of the content of a `DatasetData`."""


@hash_by_attributes('sha256')
class DatasetData(orm.SinglefileData):
    """A file of structures in a format that ASE reads, such as the database of a campaign.

    It is identified by its content. The folder and the name of the original file are ignored, although the name
    determines the format. The attributes ``sha256``, ``n_structures``, ``n_atoms`` (of all structures), ``elements``,
    ``label_sources``, ``levels`` (the hashes of the levels of theory) and ``splits`` (the number of structures in each)
    are for queries.
    """

    @classmethod
    def from_file(cls, path: Path) -> DatasetData:
        """Return an unstored node for a file.

        Raises
        ------
        AutopipeError
            If the file does not exist, cannot be read or contains no structure.
        """
        # The samplers are imported in functions, because the commands that only read rows need none of them.
        from aiida_mlip_autopipe.sampling.pool.reference_dataset import (
            count_splits,
            label_sources,
            read_reference_dataset,
            reference_levels,
        )

        structures = read_reference_dataset(path)
        node = cls(path.absolute())
        set_schema(node, DATASET_NODE_VERSION)
        node.base.attributes.set_many(
            {
                'sha256': file_sha256(path),
                'n_structures': len(structures),
                'n_atoms': sum(map(len, structures)),
                'elements': sorted({symbol for atoms in structures for symbol in atoms.symbols}),
                'label_sources': label_sources(structures),
                'levels': sorted(reference_levels(structures)),
                'splits': count_splits(structures),
            }
        )
        return node

    @contextmanager
    def as_path(self) -> Iterator[Path]:
        """Yield the path of a temporary copy of the file, after checking its content against ``sha256``.

        Raises
        ------
        AutopipeError
            If the file in AiiDA's repository is damaged or missing.
        """
        with ExitStack() as stack:
            try:
                path: Path = stack.enter_context(super().as_path())
            except (FileNotFoundError, ValueError) as error:  # no such object, or one that cannot be decompressed
                raise self._damaged() from error
            if file_sha256(path) != self.base.attributes.get('sha256'):
                raise self._damaged()
            yield path

    def _damaged(self) -> AutopipeError:
        message = f"the file of dataset {self.pk} in AiiDA's repository is damaged"
        return AutopipeError(Code.DATASET_DAMAGED, message)

    def rows(self) -> list[Row]:
        """Return all rows of a database that this program wrote.

        Raises
        ------
        SchemaVersionError
            If the node was written by a version of the package that this version cannot read.
        AutopipeError
            If the file is damaged or not an ASE database.
        """
        check_schema(self, DATASET_NODE_VERSION)
        with self.as_path() as path:
            return read_rows(path)

    def structures(self) -> list[Atoms]:
        """Return all structures, with information about their labels.

        Raises
        ------
        SchemaVersionError
            If the node was written by a version of the package that this version cannot read.
        AutopipeError
            If the file is damaged or cannot be read.
        """
        from aiida_mlip_autopipe.sampling.pool.reference_dataset import read_reference_dataset

        check_schema(self, DATASET_NODE_VERSION)
        with self.as_path() as path:
            return read_reference_dataset(path)


def structures_in(dataset: DatasetData, rows: Sequence[int]) -> list[Atoms]:
    """Return some structures of a stored dataset. Its file is read only once for consecutive jobs.

    Parameters
    ----------
    dataset
        The dataset.
    rows
        Indices of the structures.
    """
    structures = _structures_of(dataset.uuid) if rows else []
    return [structures[row].copy() for row in rows]


@lru_cache(maxsize=1)
def _structures_of(uuid: str) -> list[Atoms]:
    node: DatasetData = orm.load_node(uuid)
    return node.structures()


def find_dataset(path: Path) -> DatasetData | None:
    """Return the oldest stored node with the content of a file; None if there is none."""
    query = orm.QueryBuilder().append(DatasetData, filters={'attributes.sha256': file_sha256(path)})
    query.order_by({DatasetData: ['id']})
    found: DatasetData | None = query.first(flat=True)
    return found
