"""Files with one altered bit: stored objects of nodes, and model files."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiida import orm
from aiida.manage import get_manager


@contextmanager
def altered_bit(path: Path, offset: int = -1, bit: int = 0) -> Iterator[None]:
    """Flip a bit of a file until the end of a ``with`` block.

    Parameters
    ----------
    path
        The file.
    offset
        Position of the byte; by default the last one.
    bit
        Number of the bit in the byte.
    """
    before = path.read_bytes()
    after = bytearray(before)
    after[offset] ^= 1 << bit
    path.chmod(path.stat().st_mode | stat.S_IWUSR)
    path.write_bytes(after)
    try:
        yield
    finally:
        path.write_bytes(before)


def stored_file(node: orm.Node, name: str) -> Path:
    """Return the file in AiiDA's repository with an object of a node. Nodes share files with the same content."""
    key = node.base.repository.metadata['o'][name]['k']
    container = Path(get_manager().get_profile().storage_config['filepath'], 'container', 'loose')
    return container / key[:2] / key[2:]
