"""The descriptors that a calculator has learned; only a job can compute them."""

from __future__ import annotations

from typing import Literal

from aiida_mlip_autopipe.core.settings import Settings


class LearnedSettings(Settings):
    """What the campaign's calculator knows of an atom's environment: MACE's invariants, SevenNet's node features."""

    kind: Literal['learned'] = 'learned'
    """The features before the readout, averaged over the atoms; a job with the calculator computes them."""
