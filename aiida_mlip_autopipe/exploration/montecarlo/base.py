"""What a Monte Carlo move is: it proposes, and keeps its own statistics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from pydantic import Field

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.registry import Registry, variants_in
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.exploration.phase_space import PhaseSpace


class MoveRefusedError(AutopipeError):
    """A move that makes no sense for a structure or an ensemble."""


class MoveSettings(Settings):
    """What all moves have in common."""

    kind: str
    """Which move."""
    weight: float = Field(default=1.0, gt=0)
    """How often it is tried, relative to the other moves."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A proposed structure.

    Attributes
    ----------
    positions, cell
        Å.
    log_factor
        What the Metropolis criterion adds to ``-ΔH/kT``: the logarithm of the ratio of the phase space volumes and of
        the proposal probabilities.
    """

    positions: np.ndarray
    cell: np.ndarray
    log_factor: float = 0.0


class Move(ABC):
    """One kind of trial move.

    Parameters
    ----------
    settings
        Its settings.
    """

    settings_class: ClassVar[type[MoveSettings]]
    needs_npt: ClassVar[bool] = False
    """Whether the move changes the cell, which only NPT allows."""

    def __init__(self, settings: Any):
        self.settings = settings
        self.n_tried = 0
        self.n_accepted = 0
        self.n_overlapping = 0

    @abstractmethod
    def begin(self, atoms: Atoms, free: np.ndarray) -> None:
        """Get to know the structure.

        Parameters
        ----------
        atoms
            The seed, with formal charges as initial charges.
        free
            Which atoms may move (n,).

        Raises
        ------
        MoveRefusedError
            If the move can never do anything to it.
        """

    @abstractmethod
    def propose(self, system: PhaseSpace, rng: np.random.Generator) -> Trial:
        """Propose a structure; the system is not changed.

        The probability of a proposal must be that of the way back, or ``log_factor`` must make up for it.
        """

    def dump(self) -> dict[str, int]:
        """Return the statistics, for a checkpoint."""
        return {'tried': self.n_tried, 'accepted': self.n_accepted, 'overlapping': self.n_overlapping}

    def restore(self, statistics: dict[str, int]) -> None:
        """Go on with the statistics of a checkpoint."""
        self.n_tried = statistics['tried']
        self.n_accepted = statistics['accepted']
        self.n_overlapping = statistics['overlapping']

    def summary(self) -> dict[str, Any]:
        """Return the statistics for the result."""
        rate = self.n_accepted / self.n_tried if self.n_tried else None
        return {'kind': self.settings.kind, **self.dump(), 'acceptance': rate}


MOVES: Registry[Move] = Registry(
    'aiida_mlip_autopipe.moves', variants_in('aiida_mlip_autopipe.exploration.montecarlo.moves')
)
