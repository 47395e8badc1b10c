"""The base class of Monte Carlo moves."""

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
    """A move that is impossible for a structure or an ensemble."""


class MoveSettings(Settings):
    """Settings that all moves share."""

    kind: str
    """Kind of move."""
    weight: float = Field(default=1.0, gt=0)
    """How often the move is tried, relative to the other moves."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A proposed structure.

    Attributes
    ----------
    positions, cell
        Positions and cell of the structure, in Å.
    log_factor
        Term that the Metropolis criterion adds to ``-ΔH/kT``: the logarithm of the ratio of the phase space volumes
        and of the proposal probabilities.
    """

    positions: np.ndarray
    cell: np.ndarray
    log_factor: float = 0.0


class Move(ABC):
    """A kind of trial move, with its statistics.

    Parameters
    ----------
    settings
        The settings of the move.
    """

    settings_class: ClassVar[type[MoveSettings]]
    needs_npt: ClassVar[bool] = False
    """Whether the move changes the cell and therefore needs NPT."""
    molecules: np.ndarray | None = None
    """Index of the molecule of each atom (n,), if the seed was generated as molecules. It is set before `begin`."""

    def __init__(self, settings: Any):
        self.settings = settings
        self.n_tried = 0
        self.n_accepted = 0
        self.n_overlapping = 0

    @abstractmethod
    def begin(self, atoms: Atoms, free: np.ndarray) -> None:
        """Prepare the move for a structure.

        Parameters
        ----------
        atoms
            The seed, with formal charges as initial charges.
        free
            Which atoms may move (n,).

        Raises
        ------
        MoveRefusedError
            If the move can never change the structure.
        """

    @abstractmethod
    def propose(self, system: PhaseSpace, rng: np.random.Generator) -> Trial:
        """Propose a structure without changing the system.

        The proposal and its reverse must be equally probable, or ``log_factor`` must correct for the difference.
        """

    def dump(self) -> dict[str, int]:
        """Return the statistics for a checkpoint."""
        return {'tried': self.n_tried, 'accepted': self.n_accepted, 'overlapping': self.n_overlapping}

    def restore(self, statistics: dict[str, int]) -> None:
        """Restore the statistics from a checkpoint."""
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
