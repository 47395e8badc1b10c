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

# Target of the acceptance rate. The optimal rate is 0.44 for one degree of freedom and falls to 0.234 for many (G. O.
# Roberts and J. S. Rosenthal, Stat. Sci. 16, 351 (2001)); these moves change three, or one.
TARGET_ACCEPTANCE = 0.4
# Maximum factor by which a step size may grow or shrink.
MAX_SCALE = 100.0


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
    step_setting: ClassVar[str | None] = None
    """Name of the setting that is the step size; None if the move has none."""
    molecules: np.ndarray | None = None
    """Index of the molecule of each atom (n,), if the seed was generated as molecules. It is set before `begin`."""

    def __init__(self, settings: Any):
        self.settings = settings
        self.n_tried = 0
        self.n_accepted = 0
        self.n_overlapping = 0
        self.scale = 1.0
        self.n_adapted = 0

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

    @property
    def step_size(self) -> float:
        """The step size: the value of the setting `step_setting`, times the factor by which `adapt` has changed it."""
        assert self.step_setting is not None
        return self.scale * float(getattr(self.settings, self.step_setting))

    def adapt(self, accepted: bool) -> None:
        """Change the step size after a trial, so that the acceptance rate approaches `TARGET_ACCEPTANCE`.

        ``ln s ← ln s + (a - a*)/√n`` after trial n, where a is 1 if it was accepted and 0 otherwise: the recursion of
        Robbins and Monro for adaptive sampling, C. Andrieu and J. Thoms, Stat. Comput. 18, 343 (2008), section 4.2. As
        this makes a trial depend on earlier ones, it must not be used while structures are sampled.
        """
        if self.step_setting is None:
            return
        self.n_adapted += 1
        change = np.exp((float(accepted) - TARGET_ACCEPTANCE) / np.sqrt(self.n_adapted))
        self.scale = float(np.clip(self.scale * change, 1.0 / MAX_SCALE, MAX_SCALE))

    def dump(self) -> dict[str, float]:
        """Return the statistics and, once it has changed, the step size for a checkpoint."""
        adapted = {'scale': self.scale, 'adapted': self.n_adapted} if self.n_adapted else {}
        return {**self._counts(), **adapted}

    def restore(self, statistics: dict[str, float]) -> None:
        """Restore what `dump` returned."""
        self.n_tried = int(statistics['tried'])
        self.n_accepted = int(statistics['accepted'])
        self.n_overlapping = int(statistics['overlapping'])
        self.scale = statistics.get('scale', 1.0)
        self.n_adapted = int(statistics.get('adapted', 0))

    def summary(self) -> dict[str, Any]:
        """Return the statistics for the result, with the step size if it has changed."""
        rate = self.n_accepted / self.n_tried if self.n_tried else None
        adapted = {str(self.step_setting): self.step_size} if self.n_adapted else {}
        return {'kind': self.settings.kind, **self._counts(), 'acceptance': rate, **adapted}

    def _counts(self) -> dict[str, int]:
        return {'tried': self.n_tried, 'accepted': self.n_accepted, 'overlapping': self.n_overlapping}


MOVES: Registry[Move] = Registry(
    'aiida_mlip_autopipe.moves', variants_in('aiida_mlip_autopipe.exploration.montecarlo.moves')
)
