"""The node of a seed."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
from aiida.orm import StructureData

from aiida_mlip_autopipe.core.reading.arrays import open_npz
from aiida_mlip_autopipe.data.schema_version import check_schema, set_schema
from aiida_mlip_autopipe.structures.seed import Seed

SEED_VERSION = 1
"""Version of the content of a `SeedData`."""


class SeedData(StructureData):
    """A structure with data that `StructureData` loses: exact arrays, tags, magnetic moments, fixed atoms and origin.

    The arrays and the record are stored in the repository, because attributes round floats. AiiDA hashes both, so they
    contain nothing that depends on a campaign. The attributes ``seed_id``, ``kind`` and ``parent`` are for queries.
    """

    _ARRAYS = 'seed.npz'
    _RECORD = 'record.json'

    @classmethod
    def from_seed(cls, seed: Seed) -> SeedData:
        """Return an unstored node for a seed."""
        plain = seed.atoms.copy()
        plain.set_constraint()
        plain.set_tags(0)
        node = cls(ase=plain)
        buffer = io.BytesIO()
        np.savez(buffer, **seed.arrays())  # type: ignore[arg-type]
        node.base.repository.put_object_from_bytes(buffer.getvalue(), cls._ARRAYS)
        node.base.repository.put_object_from_bytes(json.dumps(seed.record, sort_keys=True).encode(), cls._RECORD)
        set_schema(node, SEED_VERSION)
        for name in ('kind', 'parent'):
            node.base.attributes.set(name, seed.record.get(name))
        node.base.attributes.set('seed_id', seed.seed_id)
        return node

    @property
    def seed_id(self) -> str:
        """The identity of the seed, a hash of its content."""
        return str(self.base.attributes.get('seed_id'))

    @property
    def entry_label(self) -> str | None:
        """The label of the entry in ``generation`` that made the seed. It is not AiiDA's label of the node."""
        label: str | None = self._read_record().get('label')
        return label

    @property
    def record(self) -> dict[str, Any]:
        """The record of the seed.

        Raises
        ------
        SchemaVersionError
            If the node was written by a version of the package that this version cannot read.
        """
        check_schema(self, SEED_VERSION)
        return self._read_record()

    def to_seed(self) -> Seed:
        """Return the seed, with values that are exact bit for bit.

        Raises
        ------
        SchemaVersionError
            If the node was written by a version of the package that this version cannot read.
        """
        check_schema(self, SEED_VERSION)
        with open_npz(io.BytesIO(self.base.repository.get_object_content(self._ARRAYS, mode='rb'))) as arrays:
            content = dict(arrays)
        return Seed.from_arrays(content, self._read_record())

    def _read_record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(self.base.repository.get_object_content(self._RECORD))
        return record
