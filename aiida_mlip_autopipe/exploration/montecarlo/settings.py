"""Settings of the Monte Carlo part of an exploration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

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
    adapt: bool = False
    """Whether the step size of each move is adapted so that about 40 % of its trials are accepted. Step sizes
    change only while no frames are stored: during ``n_equilibration_steps``, and in phases with ``sampled: false``."""

    @model_validator(mode='after')
    def _check_effects(self) -> MonteCarloSettings:
        if len(self.moves) == 1:
            refuse_without_effect(self.moves[0], ('weight',), 'it is the only move')
        if not any(MOVES.load(move.kind).step_setting for move in self.moves):
            refuse_without_effect(self, ('adapt',), 'no move has a step size')
        return self

    @model_serializer(mode='wrap')
    def _omit_default(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omit ``adapt`` if it is false, so that runs match those stored before this setting existed."""
        content: dict[str, Any] = serialize(self)
        if not self.adapt:
            content.pop('adapt', None)
        return content
