"""Rounds of Monte Carlo trial moves between steps of molecular dynamics."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms, units

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration.montecarlo.base import MOVES, Move, MoveRefusedError, Trial
from aiida_mlip_autopipe.exploration.montecarlo.settings import MonteCarloSettings
from aiida_mlip_autopipe.exploration.phase_space import EvaluationError, PhaseSpace, VelocityVerlet
from aiida_mlip_autopipe.exploration.unused import NPT, SCALED_IN_ALL_DIRECTIONS, name_of
from aiida_mlip_autopipe.structures.distances import find_overlap


class MonteCarlo:
    """Tries moves and accepts them by the Metropolis criterion.

    A trial is accepted with probability ``min(1, exp(-(ΔU + P ΔV)/kT + f))``, where the move provides ``f``. The work
    against a tension is added to ``P ΔV``. If two atoms overlap, the trial is rejected without an evaluation, because
    most calculators were not trained on such structures and often predict a low energy for them. A trial from a
    structure with an overlap, which dynamics can reach, is rejected as well: moves that could leave such structures but
    not enter them would violate detailed balance.

    Parameters
    ----------
    settings
        The moves, and the numbers of trials and steps.
    atoms, free
        The seed, and which of its atoms may move.
    ensemble
        The ensemble of the dynamics between the rounds.
    distance_factor
        Minimum distance as a fraction of the sum of the covalent radii; None for no minimum.
    molecules
        Index of the molecule of each atom (n,), if the seed was generated as molecules.
    """

    def __init__(
        self,
        settings: MonteCarloSettings,
        atoms: Atoms,
        free: np.ndarray,
        ensemble: str,
        distance_factor: float | None,
        molecules: np.ndarray | None = None,
    ):
        if ensemble == 'nve':
            raise MoveRefusedError(
                Code.MOVE_IMPOSSIBLE, 'Monte Carlo moves change the energy and cannot be combined with NVE'
            )
        self.settings = settings
        self.moves: list[Move] = [MOVES.make(move) for move in settings.moves]
        for move in self.moves:
            if move.needs_npt and ensemble not in SCALED_IN_ALL_DIRECTIONS:
                raise MoveRefusedError(
                    Code.MOVE_IMPOSSIBLE,
                    f'the move {move.settings.kind!r} scales all cell vectors in NPT, but the ensemble is '
                    f'{name_of(ensemble)}',
                )
            move.molecules = molecules
            move.begin(atoms, free)
        weights = np.array([move.settings.weight for move in self.moves])
        self._weights = weights / weights.sum()
        self._numbers, self._pbc = atoms.numbers, atoms.pbc.copy()
        self._distance_factor = distance_factor
        self._needs_stress = ensemble in NPT

    def is_due(self, step: int) -> bool:
        """Return whether a round follows this step."""
        return step % self.settings.n_md_steps == 0

    def run_round(self, integrator: VelocityVerlet, equilibrating: bool = False) -> None:
        """Try moves at the temperature and pressure of the integrator. Accepted moves change its system.

        Parameters
        ----------
        integrator
            The integrator of the dynamics between the rounds.
        equilibrating
            Whether no frames are stored at this step. Only then may the step sizes change.
        """
        for _ in range(self.settings.n_trials):
            move = self.moves[int(integrator.rng.choice(len(self.moves), p=self._weights))]
            accepted = self.try_move(move, integrator)
            if equilibrating and self.settings.adapt:
                move.adapt(accepted)

    def try_move(self, move: Move, integrator: VelocityVerlet) -> bool:
        """Try one move, and return whether it was accepted."""
        system = integrator.system
        trial = move.propose(system, integrator.rng)
        threshold = -np.log1p(-integrator.rng.random())  # exponentially distributed
        move.n_tried += 1
        if not np.isfinite(trial.log_factor):
            return False
        if self._overlaps(trial) or self._overlaps(system):
            move.n_overlapping += 1
            return False
        try:
            evaluation = integrator.evaluate(trial.positions, trial.cell)
        except EvaluationError:
            return False
        if not evaluation.is_finite(self._needs_stress):
            return False
        cost = evaluation.energy - integrator.evaluation.energy + integrator.work(trial.cell)
        if cost > units.kB * integrator.temperature_K * (trial.log_factor + threshold):
            return False
        system.positions, system.cell = trial.positions, trial.cell
        integrator.evaluation = evaluation
        move.n_accepted += 1
        return True

    @property
    def n_accepted_swaps(self) -> int:
        """Number of accepted swaps since the start of the run."""
        return sum(move.n_accepted for move in self.moves if move.settings.kind == 'swap')

    def dump(self) -> list[dict[str, float]]:
        """Return the statistics and the step sizes of the moves for a checkpoint."""
        return [move.dump() for move in self.moves]

    def restore(self, statistics: list[dict[str, float]]) -> None:
        """Restore what `dump` returned."""
        for move, counts in zip(self.moves, statistics, strict=True):
            move.restore(counts)

    def summary(self) -> list[dict[str, Any]]:
        """Return the statistics of each move for the result."""
        return [move.summary() for move in self.moves]

    def _overlaps(self, structure: Trial | PhaseSpace) -> bool:
        factor = self._distance_factor
        if factor is None:
            return False
        return find_overlap(self._numbers, structure.positions, structure.cell, self._pbc, factor) is not None
