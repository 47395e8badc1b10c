"""Labels by a DFT code that somebody else runs: inputs out, results in."""

from aiida_mlip_autopipe.storage.dft.base import DftCode, DftResult, DftSettings
from aiida_mlip_autopipe.storage.dft.inputs import CODES, write_dft_inputs
from aiida_mlip_autopipe.storage.dft.labels import LabelResult, label_rows

__all__ = ['CODES', 'DftCode', 'DftResult', 'DftSettings', 'LabelResult', 'label_rows', 'write_dft_inputs']
