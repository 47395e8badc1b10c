from pathlib import Path

import pytest


@pytest.fixture(scope='session')
def stored_archive():
    """An archive of a campaign with a committee, phases, held-out frames and a reference dataset."""
    return Path(__file__).parents[1] / 'stored' / 'campaign_1.aiida'
