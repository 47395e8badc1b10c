"""Settings of the Monte Carlo part of an exploration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.exploration.montecarlo.base import MOVES, MoveSettings

if TYPE_CHECKING:
    # The members of the union are known only when the registry is read.
    AnyMove = MoveSettings
else:
    AnyMove = MOVES.settings_union()


class MonteCarloSettings(Settings):
    """Trial moves between steps of molecular dynamics."""

    moves: tuple[AnyMove, ...] = Field(min_length=1)
    """The moves; each trial draws one by its weight."""
    n_md_steps: int = Field(default=10, ge=1)
    """Steps of molecular dynamics between two rounds."""
    n_trials: int = Field(default=5, ge=1)
    """Trial moves in a round; each costs one evaluation of the calculator."""
