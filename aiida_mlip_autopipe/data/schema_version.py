"""The version of the content of a node. It is stored in the node and checked before the content is read."""

from __future__ import annotations

from typing import Any

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
    name = f'{type(node).__name__} {node.uuid}'
    return check_version(node.base.attributes.get(SCHEMA_VERSION, None), name, newest, oldest)


def check_version(found: Any, name: str, newest: int, oldest: int = 1) -> int:
    """Return the version of the content of a node, from its attribute, if this package can read it.

    Parameters
    ----------
    found
        The value of the attribute; None if there is none.
    name
        The node, for the message.
    newest, oldest
        The versions that this package can read.

    Raises
    ------
    SchemaVersionError
        If the version is newer, too old or missing.
    """
    if isinstance(found, int) and oldest <= found <= newest:
        return found
    readable = f'version {newest}' if oldest == newest else f'versions {oldest} to {newest}'
    if found is None:
        raise SchemaVersionError(Code.SCHEMA_VERSION, f'{name} has no {SCHEMA_VERSION}; this package reads {readable}')
    remedy = '; update aiida-mlip-autopipe' if isinstance(found, int) and found > newest else ''
    raise SchemaVersionError(
        Code.SCHEMA_VERSION, f'{name} has {SCHEMA_VERSION} {found!r}; this package reads {readable}{remedy}'
    )
