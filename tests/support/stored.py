"""Stored campaigns."""

from __future__ import annotations

from pathlib import Path

from aiida import orm
from aiida.tools.archive import import_archive
from aiida.tools.archive.abstract import get_format

from aiida_mlip_autopipe.workflows.graph import CAMPAIGN


def import_campaign(path: Path) -> orm.WorkChainNode:
    """Import the only campaign of an archive, which may have been imported before, and return it."""
    with get_format().open(path, 'r') as archive:
        query = archive.querybuilder().append(orm.WorkChainNode, filters={'process_type': CAMPAIGN}, project='uuid')
        uuid = query.one()[0]
    import_archive(path, create_group=False)
    return orm.load_node(uuid)
