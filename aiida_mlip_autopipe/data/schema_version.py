"""The version of the content of a node. It is stored in the node and checked before the content is read."""

from __future__ import annotations

from aiida import orm

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError

SCHEMA_VERSION = 'schema_version'


class SchemaVersionError(AutopipeError):
    """A node has content that this version of the package cannot read."""


def set_schema(node: orm.Data, version: int) -> None:
    """Set the version of the content of an unstored node."""
    node.base.attributes.set(SCHEMA_VERSION, version)


def check_schema(node: orm.Data, newest: int, oldest: int = 1) -> int:
    """Return the version of the content of a node if this package can read it.

    Parameters
    ----------
    node
        The node.
    newest
        The version that this package writes.
    oldest
        The oldest version that this package can read.

    Raises
    ------
    SchemaVersionError
        If the version is newer, too old or missing.
    """
    found = node.base.attributes.get(SCHEMA_VERSION, None)
    if isinstance(found, int) and oldest <= found <= newest:
        return found
    name = f'{type(node).__name__} {node.uuid}'
    readable = f'version {newest}' if oldest == newest else f'versions {oldest} to {newest}'
    if found is None:
        raise SchemaVersionError(Code.SCHEMA_VERSION, f'{name} has no {SCHEMA_VERSION}; this package reads {readable}')
    remedy = '; update aiida-mlip-autopipe' if isinstance(found, int) and found > newest else ''
    raise SchemaVersionError(
        Code.SCHEMA_VERSION, f'{name} has {SCHEMA_VERSION} {found!r}; this package reads {readable}{remedy}'
    )
