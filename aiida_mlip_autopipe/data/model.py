"""The node that holds a model: the weights of a calculator, known by their content alone."""

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
"""Version of what a `ModelData` holds."""


IDENTITY = ('architecture', 'sha256')
"""The attributes that two nodes of the same model share."""


@hash_by_attributes(*IDENTITY)
class ModelData(orm.Data):
    """A model, known by the architecture and the sha256 of its file.

    Its name, the path of its file and whether its bytes are stored do not affect AiiDA's hash. The node holds neither a
    computer nor a path. A shipped model comes with the calculator's package, and its node stores no bytes.
    """

    FILE = 'model'
    """Name of the stored bytes in the node's repository."""

    @classmethod
    def from_file(
        cls, path: Path, architecture: str, *, store_bytes: bool = True, facts: Mapping[str, Any] | None = None
    ) -> ModelData:
        """Return the unstored node of a model file.

        Parameters
        ----------
        path
            The file.
        architecture
            The kind of calculator that it is for.
        store_bytes
            Whether the node holds the content; otherwise only its sha256.
        facts
            ``elements`` (symbols), ``cutoff_A`` (Å) and ``versions`` (by package), as far as they are known.
        """
        node = cls._describe(architecture, file_sha256(path), path.name, facts, stored=store_bytes)
        if store_bytes:
            node.base.repository.put_object_from_file(str(path.absolute()), cls.FILE)
        return node

    @classmethod
    def from_shipped(
        cls, name: str, sha256: str, architecture: str, *, facts: Mapping[str, Any] | None = None
    ) -> ModelData:
        """Return the unstored node of a model that comes with the calculator's package.

        Parameters
        ----------
        name
            The name of the model, such as ``7net-0``.
        sha256
            The sha256 of its file.
        architecture
            The kind of calculator that it is for.
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
            raise ValidationError(f'a model needs the attributes {", ".join(sorted(missing))}')
        has_bytes = self.FILE in self.base.repository.list_object_names()
        if has_bytes != attributes.get('stored'):
            raise ValidationError(f'`stored` is {attributes.get("stored")}, but the node has bytes: {has_bytes}')
        if has_bytes and attributes.get('shipped'):
            raise ValidationError('a shipped model stores no bytes')
        if has_bytes and self._hash_bytes() != self.sha256:
            raise ValidationError(f'the bytes have the sha256 {self._hash_bytes()}, not {self.sha256}')
        return True

    def _hash_bytes(self) -> str:
        with self.base.repository.open(self.FILE, mode='rb') as stream:
            return stream_sha256(stream)

    @property
    def architecture(self) -> str:
        """The kind of calculator that it is for."""
        return str(self.base.attributes.get('architecture'))

    @property
    def sha256(self) -> str:
        """The sha256 of its file."""
        return str(self.base.attributes.get('sha256'))

    @property
    def name(self) -> str:
        """The name of its file or of the shipped model; not part of its identity."""
        return str(self.base.attributes.get('name'))

    @property
    def is_shipped(self) -> bool:
        """Whether it comes with the calculator's package."""
        return bool(self.base.attributes.get('shipped'))

    @property
    def has_bytes(self) -> bool:
        """Whether the node holds the content of its file."""
        return bool(self.base.attributes.get('stored'))

    def write(self, folder: Path) -> Path:
        """Write the stored bytes to a file in a folder, and return it.

        Raises
        ------
        SchemaVersionError
            If another version of the package wrote the node, and this one cannot read it.
        AutopipeError
            If the node stores no bytes.
        """
        check_schema(self, MODEL_VERSION)
        if not self.has_bytes:
            raise AutopipeError(
                Code.MODEL_MISSING, f'the node of the model {self.name!r} stores its sha256 only, {self.sha256}'
            )
        path = folder / self.name
        with self.base.repository.open(self.FILE, mode='rb') as source, path.open('wb') as target:
            shutil.copyfileobj(source, target)
        return path


def find_model_node(architecture: str, sha256: str) -> ModelData | None:
    """Return a stored node of a model, preferably one with bytes; None if there is none."""
    identity = {'attributes.architecture': architecture, 'attributes.sha256': sha256}
    found = orm.QueryBuilder().append(ModelData, filters=identity).all(flat=True)
    return max(found, key=lambda node: (node.has_bytes, -node.pk), default=None)
