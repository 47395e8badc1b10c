from pathlib import Path

import pytest


@pytest.fixture
def data_folder():
    """Return the folder of files from other programs: three silicon cells that GPAW 26.7 labelled (PBE, 250 eV)."""
    return Path(__file__).parent / 'data'
