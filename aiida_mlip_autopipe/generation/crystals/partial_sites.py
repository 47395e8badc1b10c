"""Ordered arrangements of ions on partially occupied sites, ranked by their electrostatic energy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveInt

from aiida_mlip_autopipe.core.errors import PhysicsViolationError
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.core.wording import counted

VACANT = -1
# Energies in eV that differ by less count as equal, so that the choice does not depend on rounding errors.
ENERGY_TOLERANCE = 1e-5
# Number of placements per ion after which a random arrangement is abandoned.
N_PLACEMENTS = 200
# Fraction of the placements at a random site, so that the search escapes dead ends (B. Selman et al., Proc. AAAI-94,
# 337, 1994). With 0, it fails for 13 Li on 24d and 43 Li on 96h of a garnet, which is near the maximum.
NOISE = 0.02
# Å; in garnets, it keeps Li off neighbouring 24d and 96h sites (1.6 Å) and pairs of 96h sites (0.8 Å).
EXCLUSION_A = 2.3


class OrderingSettings(Settings):
    """How partially occupied sites are filled."""

    n_orderings: PositiveInt = 20
    """Number of arrangements to try for each seed. The one with the lowest Ewald energy is used."""
    exclusion_A: float | None = Field(default=None, ge=0, le=5)
    """Minimum distance in Å between two partially occupied sites that are both occupied by ions of like charge or by
    the same element. The default is 2.3, or 2.0 in argyrodite."""


@dataclass(frozen=True)
class Ion:
    """Identical ions that share a pool of sites with others and with vacancies.

    Attributes
    ----------
    symbol
        The element.
    charge
        Formal charge in e.
    pool
        Number of the pool.
    number
        Number of these ions.
    """

    symbol: str
    charge: float
    pool: int
    number: int


@dataclass(frozen=True)
class Ordering:
    """The arrangement with the lowest energy of those tried.

    Attributes
    ----------
    occupants
        Index of the ion on each site, or -1 if it is vacant, shape (n,).
    energies_eV
        Ewald energy of each arrangement that was tried, in eV; empty without charges.
    random_energies_eV
        Ewald energies of the random arrangements from which these were found by exchanges, in eV.
    """

    occupants: np.ndarray
    energies_eV: tuple[float, ...] = ()
    random_energies_eV: tuple[float, ...] = ()

    def record(self) -> dict[str, object]:
        """Return the energies as a record."""
        if not self.energies_eV:
            return {'n_orderings': 1}
        return {
            'n_orderings': len(self.energies_eV),
            'ewald_energy_eV': round(min(self.energies_eV), 4),
            'mean_random_ewald_energy_eV': round(float(np.mean(self.random_energies_eV)), 4),
        }


class PartialSites:
    """Sites of a crystal that are only partially occupied.

    Parameters
    ----------
    fixed
        The atoms on fully occupied sites, in their cell.
    positions
        Positions of the partially occupied sites in Å, shape (n, 3).
    pools
        Number of the pool of each site, shape (n,). Ions and vacancies exchange their sites within a pool.
    min_distance_A
        Minimum distance in Å between occupied sites of two pools.
    """

    def __init__(
        self, fixed: Atoms, positions: np.ndarray, pools: np.ndarray, min_distance_A: Callable[[int, int], float]
    ):
        self.fixed, self.positions, self.pools = fixed, positions, pools
        self.excluded = _excluded(fixed, positions, pools, min_distance_A)

    def order(
        self, fixed_charges: np.ndarray, ions: Sequence[Ion], n_orderings: int, rng: np.random.Generator
    ) -> Ordering:
        """Return the arrangement with the lowest Ewald energy of several that are found from random ones.

        Each random arrangement is improved by exchanges of two occupants of a pool, or of an occupant and a vacancy,
        the one with the largest gain first, until none lowers the energy. Without charges, a single random arrangement
        is returned.

        Parameters
        ----------
        fixed_charges
            Formal charge of each fixed atom in e, shape (m,).
        ions
            The ions to place.
        n_orderings
            Number of arrangements to try.
        rng
            Source of the random arrangements.

        Raises
        ------
        PhysicsViolationError
            With the rule ``exclusion``, if the ions do not fit on the sites.
        """
        charges = np.array([*(ion.charge for ion in ions), 0.0])  # the last one is that of a vacancy
        if not charges.any():
            return Ordering(self._random_arrangement(ions, rng))
        found, random_energies = [], []
        for _ in range(n_orderings):
            occupants = self._random_arrangement(ions, rng)
            random_energies.append(self._energy(fixed_charges, charges[occupants]))
            improved = self._improve(occupants, fixed_charges, charges)
            found.append((self._energy(fixed_charges, charges[improved]), improved))
        energies = [energy for energy, _ in found]
        best = next(occupants for energy, occupants in found if energy < min(energies) + ENERGY_TOLERANCE)
        return Ordering(best, tuple(energies), tuple(random_energies))

    @cached_property
    def _matrix(self) -> np.ndarray:
        """Ewald energy in eV of each pair of unit charges, first on the fixed atoms, then on the sites."""
        from pymatgen.analysis.ewald import EwaldSummation
        from pymatgen.core import Species, Structure

        everywhere = np.vstack([self.fixed.positions, self.positions])
        unit_charges = [Species('Na', 1)] * len(everywhere)
        structure = Structure(self.fixed.cell.array, unit_charges, everywhere, coords_are_cartesian=True)
        matrix = np.asarray(EwaldSummation(structure).total_energy_matrix)
        return np.asarray((matrix + matrix.T) / 2)

    def _energy(self, fixed_charges: np.ndarray, charges: np.ndarray) -> float:
        every = np.concatenate([fixed_charges, charges])
        return float(every @ self._matrix @ every)

    def _random_arrangement(self, ions: Sequence[Ion], rng: np.random.Generator) -> np.ndarray:
        """Place the ions in random order on the sites with the fewest ions that are too close, and remove these ions.

        The removed ions are placed again later.
        """
        occupants = np.full(len(self.positions), VACANT)
        waiting = rng.permutation(np.repeat(np.arange(len(ions)), [ion.number for ion in ions])).tolist()
        for _ in range(N_PLACEMENTS * len(waiting)):
            if not waiting:
                return occupants
            ion = waiting.pop()
            free = np.flatnonzero((self.pools == ions[ion].pool) & (occupants == VACANT))
            if not len(free):
                break
            near = self.excluded[free] & (occupants != VACANT)
            crowding = near.sum(axis=1) * (rng.random() >= NOISE)
            choice = int(rng.choice(np.flatnonzero(crowding == crowding.min())))
            removed = np.flatnonzero(near[choice])
            waiting = [*occupants[removed].tolist(), *waiting]
            occupants[removed] = VACANT
            occupants[free[choice]] = ion
        if not waiting:
            return occupants
        total = sum(ion.number for ion in ions)
        raise PhysicsViolationError(
            'exclusion', (), total - len(waiting), total,
            f'{counted(total, "ion")} cannot be placed on {counted(len(occupants), "partially occupied site")}; '
            f'number placed: {total - len(waiting)}',
        )  # fmt: skip

    def _improve(self, occupants: np.ndarray, fixed_charges: np.ndarray, charges: np.ndarray) -> np.ndarray:
        """Exchange occupants, the pair with the largest gain first, until no exchange lowers the energy."""
        occupants = occupants.copy()
        n_fixed = len(fixed_charges)
        block = self._matrix[n_fixed:, n_fixed:]
        self_energies = np.diag(block)[:, None] + np.diag(block) - 2 * block
        near = self.excluded.astype(int)
        same_pool = self.pools[:, None] == self.pools
        potential = self._matrix[n_fixed:] @ np.concatenate([fixed_charges, charges[occupants]])
        while True:
            own = charges[occupants]
            step = own - own[:, None]  # change of the charge of the first site
            occupied = occupants != VACANT
            crowding = near @ occupied
            # An ion may move to a vacant site if no other ion is too close to that site.
            opens = ~occupied[:, None] & occupied & (crowding[:, None] - near == 0)
            allowed = same_pool & ((occupied[:, None] & occupied) | opens) & (step != 0)
            gain = np.where(allowed, 2 * step * (potential[:, None] - potential) + step**2 * self_energies, 0.0)
            lowest = float(gain.min())
            if lowest > -ENERGY_TOLERANCE:
                return occupants
            first, second = divmod(int(np.argmax(gain < lowest + ENERGY_TOLERANCE)), len(occupants))
            potential += step[first, second] * (block[:, first] - block[:, second])
            occupants[[first, second]] = occupants[[second, first]]


def _excluded(
    fixed: Atoms, positions: np.ndarray, pools: np.ndarray, min_distance_A: Callable[[int, int], float]
) -> np.ndarray:
    """Return which pairs of sites are too close to both be occupied, shape (n, n)."""
    from matscipy.neighbours import neighbour_list

    excluded = np.zeros((len(positions), len(positions)), dtype=bool)
    known = range(int(pools.max()) + 1)
    limits = np.array([[min_distance_A(one, other) for other in known] for one in known])
    if limits.max() > 0:
        first, second, distances = neighbour_list(
            'ijd', positions=positions, cell=fixed.cell.array, pbc=fixed.pbc, cutoff=float(limits.max())
        )
        close = distances < limits[pools[first], pools[second]] - 1e-6
        excluded[first[close], second[close]] = True
    return excluded
