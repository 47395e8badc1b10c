"""Settings of the Monte Carlo part of an exploration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.exploration.montecarlo.base import MOVES, MoveSettings
from aiida_mlip_autopipe.exploration.unused import refuse_without_effect

if TYPE_CHECKING:
    # The registry provides the members of the union only at run time.
    AnyMove = MoveSettings
else:
    AnyMove = MOVES.settings_union()


class MonteCarloSettings(Settings):
    """Trial moves between steps of molecular dynamics."""

    moves: tuple[AnyMove, ...] = Field(min_length=1)
    """The moves. Each trial draws one of them at random, by weight."""
    n_md_steps: int = Field(default=10, ge=1)
    """Steps of molecular dynamics between two rounds of trial moves."""
    n_trials: int = Field(default=5, ge=1)
    """Trial moves in a round. Each one costs one evaluation of the calculator."""

    @model_validator(mode='after')
    def _check_weight(self) -> MonteCarloSettings:
        if len(self.moves) == 1:
            refuse_without_effect(self.moves[0], ('weight',), 'it is the only move')
        return self
