"""Guards: rules that stop a run when it has blown up, each with a sentence that says what was seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.exploration.phase_space import PhaseSpace
from aiida_mlip_autopipe.exploration.settings import GuardSettings
from aiida_mlip_autopipe.structures.distances import find_detached, find_groups, find_overlap, nearest_distances

# How much farther apart than in the seed atoms may be that held together there.
SPARE = 1.5
# Atoms of a fragment that are named in a message.
MAX_NAMED = 6


@dataclass(frozen=True)
class Alarm:
    """A guard that fired."""

    rule: str
    message: str


class Guards:
    """Watches a run.

    Parameters
    ----------
    settings
        The limits.
    atoms
        The seed: the volume and the distances that others are compared with.
    """

    def __init__(self, settings: GuardSettings, atoms: Atoms):
        self.settings = settings
        self._pbc = atoms.pbc.copy()
        self._numbers = atoms.numbers
        self._symbols = atoms.get_chemical_symbols()
        self._volume = atoms.get_volume() if atoms.cell.rank == 3 else None
        self._detached_A = None
        if settings.detached_factor is not None:
            limit = settings.detached_factor * 2.0 * float(covalent_radii[atoms.numbers].max())
            nearest = nearest_distances(atoms.positions, atoms.cell.array, self._pbc, limit)
            # A gas is sparse from the start, which is no evaporation.
            self._detached_A = max(limit, SPARE * float(nearest.max()))
            # What was nearer than this held together in the seed; vibrations take no pair from here over the limit.
            reach = (1.0 + 1e-9) * self._detached_A / SPARE
            self._groups = find_groups(atoms.positions, atoms.cell.array, self._pbc, reach, reach)

    def check_step(
        self, system: PhaseSpace, evaluation: Evaluation, energy_before: float, target_K: float
    ) -> Alarm | None:
        """Apply the guards that cost next to nothing, after every step."""
        limits = self.settings
        if not evaluation.finite or not np.isfinite(system.momenta).all():
            return Alarm('not_finite', 'energy, forces, stress or momenta are not finite')
        n = len(system.momenta)
        jump = abs(evaluation.energy - energy_before) / n
        if limits.energy_jump_eV is not None and jump > limits.energy_jump_eV:
            return Alarm(
                'energy', f'the energy jumped by {jump:.3g} eV per atom in one step, limit {limits.energy_jump_eV:g}'
            )
        if limits.force_eV_per_A is not None:
            force = float(np.sqrt((evaluation.forces[system.free] ** 2).sum(axis=1).max()))
            if force > limits.force_eV_per_A:
                return Alarm('force', f'a force of {force:.4g} eV/Å, limit {limits.force_eV_per_A:g}')
        if limits.check_temperature:
            highest = limits.temperature_K or temperature_limit(target_K, system.n_dof)
            if system.temperature_K > highest:
                return Alarm('temperature', f'a temperature of {system.temperature_K:.0f} K, limit {highest:.0f} K')
        if limits.volume_factor is not None and self._volume:
            ratio = system.volume / self._volume
            if not 1.0 / limits.volume_factor <= ratio <= limits.volume_factor:
                return Alarm(
                    'volume', f"the volume is {ratio:.3g} times the seed's, limit a factor of {limits.volume_factor:g}"
                )
        return None

    def check_distances(self, system: PhaseSpace) -> Alarm | None:
        """Apply the guards that need the neighbours: atoms too close to each other, atoms that are gone."""
        factor = self.settings.distance_factor
        if factor is not None:
            pair = find_overlap(self._numbers, system.positions, system.cell, self._pbc, factor)
            if pair is not None:
                names = ' and '.join(f'{self._symbols[index]}{index}' for index in pair.atoms)
                return Alarm(
                    'distance',
                    f'{names} are {pair.distance_A:.3f} Å apart, {pair.ratio:.2f} of their covalent radii, '
                    f'limit {factor:g}',
                )
        if self._detached_A is not None:
            gone = find_detached(system.positions, system.cell, self._pbc, self._detached_A, self._groups)
            if len(gone):
                names = ', '.join(f'{self._symbols[index]}{index}' for index in gone[:MAX_NAMED])
                more = f' and {len(gone) - MAX_NAMED} more' if len(gone) > MAX_NAMED else ''
                return Alarm(
                    'detached', f'{names}{more} came off: nothing else of the seed is within {self._detached_A:.1f} Å'
                )
        return None


def temperature_limit(target_K: float, n_dof: int) -> float:
    """Return the default limit of the instantaneous temperature in K.

    Its relative standard deviation is ``√(2/N_f)``; the limit is ten of them, at least a factor of four, and 1000 K
    more, since a rattled seed turns potential into kinetic energy.
    """
    deviation: float = (2.0 / max(n_dof, 1)) ** 0.5
    return target_K * max(4.0, 1.0 + 10.0 * deviation) + 1000.0
