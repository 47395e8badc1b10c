"""Selection of frames for the dataset from the trajectories of explorations."""

from aiida_mlip_autopipe.sampling.base import SAMPLERS, STAGE_VERSION, Picks, Sampler, SamplerSettings
from aiida_mlip_autopipe.sampling.section import SamplingSettings, sampling_union, section_class, split_section
from aiida_mlip_autopipe.sampling.select import Selection, SelectionRequest, select_frames
from aiida_mlip_autopipe.sampling.selection_settings import SelectionSettings

__all__ = [
    'SAMPLERS',
    'STAGE_VERSION',
    'Picks',
    'Sampler',
    'SamplerSettings',
    'SamplingSettings',
    'Selection',
    'SelectionRequest',
    'SelectionSettings',
    'sampling_union',
    'section_class',
    'select_frames',
    'split_section',
]
