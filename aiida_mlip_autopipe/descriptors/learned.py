"""The settings of learned descriptors, which only a job with a calculator can compute."""

from __future__ import annotations

from typing import Literal

from aiida_mlip_autopipe.core.settings import Settings


class LearnedSettings(Settings):
    """Learned descriptors of the campaign's calculator: the invariants of MACE or the node features of SevenNet."""

    kind: Literal['learned'] = 'learned'
    """The features before the readout, averaged over the atoms. A job with the calculator computes them."""
