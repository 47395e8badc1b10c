"""Ctrl-C at several points of ``mlip-autopipe import``. No earlier module may import this archive into the profile."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiida import orm
from aiida.tools.archive import imports

from aiida_mlip_autopipe.campaigns.provenance import archive
from aiida_mlip_autopipe.storage import Dataset

pytestmark = [pytest.mark.integration, pytest.mark.chaos]


def count_nodes():
    return orm.QueryBuilder().append(orm.Node).count()


def test_import_adds_all_nodes_or_none(folder, stored_archive, run, run_interrupted, interrupt):
    """AiiDA adds them in one transaction."""
    before = count_nodes()
    stages = [(archive, '_check_objects'), *((imports, f'_import_{name}') for name in ('computers', 'nodes', 'links'))]
    for owner, name in (*stages, (imports, '_add_files_to_repo')):
        interrupt(owner, name, 'after')
        run_interrupted('import', stored_archive)
        assert count_nodes() == before, name
    assert run('import', stored_archive).exit_code == 0
    assert run('export', 'tiny', '-o', 'rows.db').exit_code == 0
    with Dataset(Path('rows.db')) as dataset:
        assert len(list(dataset.query())) == 8
