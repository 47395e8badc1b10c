"""Store labelled structures in an ASE database. Each row records its provenance."""

from aiida_mlip_autopipe.storage.dataset import Dataset
from aiida_mlip_autopipe.storage.formats.export import export_dataset
from aiida_mlip_autopipe.storage.sets.split import SplitSettings, export_splits, split_rows
from aiida_mlip_autopipe.storage.settings import StorageSettings
from aiida_mlip_autopipe.structures.rows.provenance import Provenance
from aiida_mlip_autopipe.structures.rows.row import Row, make_row

# Increase this if a change to this subpackage changes the rows of a dataset, so that caching ignores older results.
STAGE_VERSION = '9'

__all__ = [
    'STAGE_VERSION',
    'Dataset',
    'Provenance',
    'Row',
    'SplitSettings',
    'StorageSettings',
    'export_dataset',
    'export_splits',
    'make_row',
    'split_rows',
]
