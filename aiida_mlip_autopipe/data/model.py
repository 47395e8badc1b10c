"""The node of a model: the weights of a calculator, identified by their content."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.exceptions import ValidationError

from aiida_mlip_autopipe.aiida_internals import hash_by_attributes
from aiida_mlip_autopipe.calculators.licences import licence_of
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.hashing import file_sha256, stream_sha256
from aiida_mlip_autopipe.data.schema_version import SCHEMA_VERSION, check_schema, set_schema

MODEL_VERSION = 1
"""Version of the content of a `ModelData`."""


IDENTITY = ('architecture', 'sha256')
"""The attributes that identify a model."""


@hash_by_attributes(*IDENTITY)
class ModelData(orm.Data):
    """A model, identified by its architecture and the sha256 of its file.

    The name of the model, the path of its file and whether the node stores the bytes do not affect AiiDA's hash. The
    node refers to neither a computer nor a path. A shipped model is part of the package of its calculator, and its
    node stores no bytes.
    """

    FILE = 'model'
    """Name of the stored bytes in the node's repository."""

    @classmethod
    def from_file(
        cls, path: Path, architecture: str, *, store_bytes: bool = True, facts: Mapping[str, Any] | None = None
    ) -> ModelData:
        """Return an unstored node for a model file.

        Parameters
        ----------
        path
            The file.
        architecture
            The kind of calculator that uses the model.
        store_bytes
            Whether the node stores the bytes of the file; otherwise, it stores only the sha256.
        facts
            ``elements`` (symbols), ``cutoff_A`` (Å) and ``versions`` (by package). Unknown facts may be omitted.
        """
        node = cls._describe(architecture, file_sha256(path), path.name, facts, stored=store_bytes)
        if store_bytes:
            node.base.repository.put_object_from_file(str(path.absolute()), cls.FILE)
        return node

    @classmethod
    def from_shipped(
        cls, name: str, sha256: str, architecture: str, *, facts: Mapping[str, Any] | None = None
    ) -> ModelData:
        """Return an unstored node for a model that is part of the package of its calculator.

        Parameters
        ----------
        name
            The name of the model, such as ``7net-0``.
        sha256
            The sha256 of the file.
        architecture
            The kind of calculator that uses the model.
        facts
            As in `from_file`.
        """
        return cls._describe(architecture, sha256, name, facts, shipped=True)

    @classmethod
    def _describe(
        cls,
        architecture: str,
        sha256: str,
        name: str,
        facts: Mapping[str, Any] | None,
        *,
        shipped: bool = False,
        stored: bool = False,
    ) -> ModelData:
        facts = facts or {}
        elements: Collection[str] | None = facts.get('elements')
        node = cls()
        set_schema(node, MODEL_VERSION)
        node.base.attributes.set_many(
            {
                'architecture': architecture,
                'sha256': sha256,
                'name': name,
                'shipped': shipped,
                'stored': stored,
                'elements': None if elements is None else sorted(elements),
                'cutoff_A': facts.get('cutoff_A'),
                'licence': licence_of(architecture, name).licence,
                'versions': dict(facts.get('versions') or {}),
            }
        )
        return node

    def _validate(self) -> bool:
        super()._validate()
        attributes = self.base.attributes
        names = {SCHEMA_VERSION, *IDENTITY, 'name', 'shipped', 'stored', 'elements', 'cutoff_A', 'licence', 'versions'}
        missing = names - set(attributes.keys())
        if missing:
            raise ValidationError(f'a model requires the attributes {", ".join(sorted(missing))}')
        has_bytes = self.FILE in self.base.repository.list_object_names()
        if has_bytes != attributes.get('stored'):
            raise ValidationError(
                f'`stored` is {attributes.get("stored")}, but the node stores {"the" if has_bytes else "no"} bytes'
            )
        if has_bytes and attributes.get('shipped'):
            raise ValidationError('the node of a shipped model must not store bytes')
        if has_bytes and self._hash_bytes() != self.sha256:
            raise ValidationError(f'the bytes have the sha256 {self._hash_bytes()}, not {self.sha256}')
        return True

    def _hash_bytes(self) -> str:
        with self.base.repository.open(self.FILE, mode='rb') as stream:
            return stream_sha256(stream)

    @property
    def architecture(self) -> str:
        """The kind of calculator that uses the model."""
        return str(self.base.attributes.get('architecture'))

    @property
    def sha256(self) -> str:
        """The sha256 of the file."""
        return str(self.base.attributes.get('sha256'))

    @property
    def name(self) -> str:
        """The name of the file or of the shipped model, which is not part of the identity."""
        return str(self.base.attributes.get('name'))

    @property
    def is_shipped(self) -> bool:
        """Whether the model is part of the package of its calculator."""
        return bool(self.base.attributes.get('shipped'))

    @property
    def has_bytes(self) -> bool:
        """Whether the node stores the bytes of the file."""
        return bool(self.base.attributes.get('stored'))

    def write(self, folder: Path) -> Path:
        """Write the stored bytes to a file in a folder, and return its path.

        Raises
        ------
        SchemaVersionError
            If the node was written by a version of the package that this version cannot read.
        AutopipeError
            If the node stores no bytes.
        """
        check_schema(self, MODEL_VERSION)
        if not self.has_bytes:
            raise AutopipeError(
                Code.MODEL_MISSING,
                f'the node of the model {self.name!r} stores no bytes, only the sha256 {self.sha256}',
            )
        path = folder / self.name
        with self.base.repository.open(self.FILE, mode='rb') as source, path.open('wb') as target:
            shutil.copyfileobj(source, target)
        return path


def find_model_node(architecture: str, sha256: str) -> ModelData | None:
    """Return a stored node of a model, preferably one with bytes; None if no node exists."""
    identity = {'attributes.architecture': architecture, 'attributes.sha256': sha256}
    found = orm.QueryBuilder().append(ModelData, filters=identity).all(flat=True)
    return max(found, key=lambda node: (node.has_bytes, -node.pk), default=None)
