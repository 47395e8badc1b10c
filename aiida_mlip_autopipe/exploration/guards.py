"""Guards: rules that stop an unstable run, each with a message that describes the cause."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.exploration.phase_space import PhaseSpace
from aiida_mlip_autopipe.exploration.settings.static import AnyGuards
from aiida_mlip_autopipe.structures.cells import cell_angles, cell_widths
from aiida_mlip_autopipe.structures.distances import find_detached, find_fragments, find_overlap, nearest_distances

# Maximum ratio of the distance between connected atoms to their distance in the seed.
MAX_STRETCH = 1.5
# Maximum number of detached atoms that a message names.
MAX_NAMED = 6
AXES = 'abc'
ANGLES = ('alpha', 'beta', 'gamma')


@dataclass(frozen=True)
class Alarm:
    """A guard that was triggered, with its message."""

    rule: str
    message: str


class Guards:
    """Checks a run against its limits.

    Parameters
    ----------
    settings
        The limits.
    atoms
        The seed. Its volume and distances are the reference values for the run.
    molecules
        Index of the molecule of each atom (n,), if the seed was generated as molecules.
    needs_stress
        Whether the run uses the stress, which must then be finite.
    shape_changes
        Whether the shape of the cell changes, which is then compared with that of the seed.
    """

    def __init__(
        self,
        settings: AnyGuards,
        atoms: Atoms,
        molecules: np.ndarray | None = None,
        needs_stress: bool = False,
        shape_changes: bool = False,
    ):
        self.settings = settings
        self._needs_stress = needs_stress
        self._shape = (cell_widths(atoms.cell.array), cell_angles(atoms.cell.array)) if shape_changes else None
        self._pbc = atoms.pbc.copy()
        self._numbers = atoms.numbers
        self._symbols = atoms.get_chemical_symbols()
        self._volume = atoms.get_volume() if atoms.cell.rank == 3 else None
        self._detached_A = None
        if settings.detached_factor is not None and len(atoms) > 1:
            limit = settings.detached_factor * 2.0 * float(covalent_radii[atoms.numbers].max())
            if molecules is not None:
                # Molecules may separate, but no atom may leave its molecule for empty space.
                self._detached_A, self._fragments = limit, molecules
                return
            nearest = nearest_distances(atoms.positions, atoms.cell.array, self._pbc, limit)
            # The atoms of a gas are far apart from the start, and must not count as detached.
            self._detached_A = max(limit, MAX_STRETCH * float(nearest.max()))
            # Atoms within this distance in the seed were connected. Vibrations do not separate them beyond the limit.
            reach = (1.0 + 1e-9) * self._detached_A / MAX_STRETCH
            self._fragments = find_fragments(atoms.positions, atoms.cell.array, self._pbc, reach, reach)

    def check_step(
        self, system: PhaseSpace, evaluation: Evaluation, energy_before: float, target_K: float
    ) -> Alarm | None:
        """Apply the guards that are cheap enough for every step.

        Parameters
        ----------
        system, evaluation
            The state after the step.
        energy_before
            The potential energy before the step in eV.
        target_K
            The target temperature in K, from which the temperature limit is derived.
        """
        limits = self.settings
        momenta_are_finite = np.isfinite(system.momenta).all() and np.isfinite(system.cell_momentum).all()
        if not evaluation.is_finite(self._needs_stress) or not momenta_are_finite:
            # A cell that has collapsed is not evaluated, so its volume is the cause.
            alarm = self._check_cell(system) if np.isfinite(system.cell).all() else None
            return alarm or Alarm('not_finite', 'the energy, forces, stress or momenta were not finite')
        n = len(system.momenta)
        jump = abs(evaluation.energy - energy_before) / n
        if limits.energy_jump_eV is not None and jump > limits.energy_jump_eV:
            return Alarm(
                'energy',
                f'the energy changed by {jump:.3g} eV/atom in one step (limit {limits.energy_jump_eV:g} eV/atom)',
            )
        if limits.force_eV_per_A is not None:
            force = float(np.sqrt((evaluation.forces[system.free] ** 2).sum(axis=1).max()))
            if force > limits.force_eV_per_A:
                return Alarm(
                    'force', f'the force on an atom was {force:.4g} eV/Å (limit {limits.force_eV_per_A:g} eV/Å)'
                )
        if limits.check_temperature:
            highest = limits.temperature_K or temperature_limit(target_K, system.n_dof)
            if system.temperature_K > highest:
                return Alarm('temperature', f'the temperature was {system.temperature_K:.0f} K (limit {highest:.0f} K)')
        return self._check_cell(system)

    def _check_cell(self, system: PhaseSpace) -> Alarm | None:
        """Compare the volume and, if it changes, the shape of the cell with those of the seed."""
        factor = self.settings.volume_factor
        if factor is not None and self._volume:
            ratio = system.volume / self._volume
            if not 1.0 / factor <= ratio <= factor:
                return Alarm(
                    'volume', f'the volume was {ratio:.3g} times that of the seed (limit: a factor of {factor:g})'
                )
        return self._check_shape(system.cell)

    def _check_shape(self, cell: np.ndarray) -> Alarm | None:
        """Compare the perpendicular widths and the angles of a cell with those of the seed."""
        if self._shape is None or not np.linalg.det(cell):
            return None
        lowest, largest = self.settings.width_factor, self.settings.angle_change_deg
        widths, angles = self._shape
        if lowest is not None:
            ratios = cell_widths(cell) / widths
            axis = int(ratios.argmin())
            if ratios[axis] < lowest:
                return Alarm(
                    'shape',
                    f'the perpendicular width of the cell along {AXES[axis]} was {ratios[axis]:.3g} times that of the '
                    f'seed (limit {lowest:g})',
                )
        if largest is not None:
            changes = np.abs(cell_angles(cell) - angles)
            angle = int(changes.argmax())
            if changes[angle] > largest:
                return Alarm(
                    'shape',
                    f'the angle {ANGLES[angle]} of the cell differed by {changes[angle]:.3g}° from that of the seed '
                    f'(limit {largest:g}°)',
                )
        return None

    def check_distances(self, system: PhaseSpace) -> Alarm | None:
        """Apply the guards that need neighbours: overlapping atoms and detached atoms."""
        factor = self.settings.distance_factor
        if factor is not None:
            pair = find_overlap(self._numbers, system.positions, system.cell, self._pbc, factor)
            if pair is not None:
                names = ' and '.join(f'{self._symbols[index]}{index}' for index in pair.atoms)
                return Alarm(
                    'distance',
                    f'{names} were {pair.distance_A:.3f} Å apart, {pair.ratio:.2f} times the sum of their covalent '
                    f'radii (limit {factor:g})',
                )
        if self._detached_A is not None:
            detached = find_detached(system.positions, system.cell, self._pbc, self._detached_A, self._fragments)
            if len(detached):
                names = ', '.join(f'{self._symbols[index]}{index}' for index in detached[:MAX_NAMED])
                more = f' and {len(detached) - MAX_NAMED} more' if len(detached) > MAX_NAMED else ''
                return Alarm(
                    'detached',
                    f'{names}{more} became detached: the distance between parts that were connected in the seed '
                    f'exceeded {self._detached_A:.1f} Å',
                )
        return None


def temperature_limit(target_K: float, n_dof: int) -> float:
    """Return the default maximum of the instantaneous temperature in K.

    The relative standard deviation of the temperature is ``√(2/N_f)``. The limit is ten standard deviations above the
    target, and at least four times the target. It is raised by 1000 K, because a rattled seed converts potential energy
    to kinetic energy.
    """
    deviation: float = (2.0 / max(n_dof, 1)) ** 0.5
    return target_K * max(4.0, 1.0 + 10.0 * deviation) + 1000.0
