"""Trajectories in, a selection out: which frames are worth a place in the dataset."""

from aiida_mlip_autopipe.sampling.base import SAMPLERS, STAGE_VERSION, Picks, Sampler, SamplerSettings
from aiida_mlip_autopipe.sampling.select import Selection, select_frames

__all__ = ['SAMPLERS', 'STAGE_VERSION', 'Picks', 'Sampler', 'SamplerSettings', 'Selection', 'select_frames']
