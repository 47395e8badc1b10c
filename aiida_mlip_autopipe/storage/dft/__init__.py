"""Write inputs for DFT codes, and read labels from their results. The user runs the calculations."""

from aiida_mlip_autopipe.storage.dft.base import DftCode, DftResult, DftSettings
from aiida_mlip_autopipe.storage.dft.inputs import CODES, write_dft_inputs
from aiida_mlip_autopipe.storage.dft.labels import LabelResult, label_rows

__all__ = ['CODES', 'DftCode', 'DftResult', 'DftSettings', 'LabelResult', 'label_rows', 'write_dft_inputs']
