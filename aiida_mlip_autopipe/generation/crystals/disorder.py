"""Ordered realisations of crystals with partially occupied or shared sites, such as those in CIF files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from math import prod

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.generation.base import Requirements
from aiida_mlip_autopipe.generation.chemistry.elements import nearest_counts
from aiida_mlip_autopipe.generation.chemistry.oxidation import Guess, guess_states
from aiida_mlip_autopipe.generation.crystals.partial_sites import EXCLUSION_A, Ion, OrderingSettings, PartialSites
from aiida_mlip_autopipe.generation.crystals.supercells import Repeats, choose_repeats, given_repeats
from aiida_mlip_autopipe.generation.files.cif import OCCUPANCY_TOLERANCE

VACANCY = 'vacancy'
# Minimum distance between a cation and an anion, or between different metals, on partially occupied sites, divided by
# the sum of their covalent radii; the same as in the validation.
CONTACT_FACTOR = 0.6
N_OPTIONS = 500
MAX_SHIFT = 2

Counts = tuple[dict[str, int], ...]


@dataclass(frozen=True)
class _Realisation:
    """Numbers of atoms on the partially occupied sites of a supercell, and the states that balance them."""

    repeats: Repeats
    counts: Counts
    guess: Guess


class DisorderedCrystal:
    """A crystal with sites that are partially occupied or shared by several elements.

    Sites with equal occupancies form a pool: the occupancies are realised on average over its sites.

    Parameters
    ----------
    atoms
        The crystal, with one atom for each site.
    occupancies
        Occupancy of each element, by site.
    name
        Name of the structure, for messages.
    """

    def __init__(self, atoms: Atoms, occupancies: list[dict[str, float]], name: str):
        self.name = name
        full = np.array([is_full(found) for found in occupancies])
        self._fixed, self._sites = atoms[full], atoms[~full]
        kinds = [
            tuple(sorted(found.items())) for found, is_fixed in zip(occupancies, full, strict=True) if not is_fixed
        ]
        self.fractions = [dict(kind) for kind in sorted(set(kinds))]
        self._pools = np.array([self.fractions.index(dict(kind)) for kind in kinds])
        self._realisations: dict[tuple[Requirements, Repeats | None, float], _Realisation] = {}
        self._partial: dict[tuple[Repeats, float], PartialSites] = {}

    def draw(
        self,
        rng: np.random.Generator,
        requirements: Requirements,
        *,
        ordering: OrderingSettings,
        supercell: Repeats | None,
        tolerance: float,
    ) -> tuple[Atoms, dict[str, object]]:
        """Return an ordered realisation with formal charges, and its record.

        Parameters
        ----------
        rng
            Source of the random arrangements.
        requirements
            Maximum number of atoms and minimum width of a cell that is not given.
        ordering
            How the sites are filled.
        supercell
            Number of repeats; by default the smallest cell that can realise all occupancies.
        tolerance
            Maximum deviation of an occupancy.

        Raises
        ------
        AutopipeError
            If the cell cannot realise an occupancy, or if no oxidation states balance it.
        PhysicsViolationError
            If no arrangement respects the minimum distances.
        """
        key = (requirements, supercell, tolerance)
        if key not in self._realisations:
            self._realisations[key] = self._realise(requirements, supercell, tolerance)
        found = self._realisations[key]
        states = found.guess.means
        n_cells = prod(found.repeats)
        exclusion = EXCLUSION_A if ordering.exclusion_A is None else ordering.exclusion_A
        if (found.repeats, exclusion) not in self._partial:
            self._partial[found.repeats, exclusion] = PartialSites(
                self._fixed.repeat(found.repeats), self._sites.repeat(found.repeats).positions,
                np.tile(self._pools, n_cells), lambda one, other: self._limit(one, other, exclusion, states),
            )  # fmt: skip
        partial = self._partial[found.repeats, exclusion]
        ions = [
            Ion(symbol, states.get(symbol, 0.0), pool, number)
            for pool, counts in enumerate(found.counts)
            for symbol, number in counts.items()
            if symbol != VACANCY and number
        ]
        charges = np.array([states.get(symbol, 0.0) for symbol in partial.fixed.symbols])
        arrangement = partial.order(charges, ions, ordering.n_orderings, rng)
        placed = arrangement.occupants >= 0
        symbols = [ions[index].symbol for index in arrangement.occupants[placed]]
        atoms = partial.fixed + Atoms(symbols, partial.positions[placed])
        if states:
            atoms.set_initial_charges([states[symbol] for symbol in atoms.symbols])
        record = {
            'supercell': list(found.repeats),
            'occupancies': [
                {'requested': fractions, 'realised': {s: counts[s] / sum(counts.values()) for s in fractions}}
                for fractions, counts in zip(self.fractions, found.counts, strict=True)
            ],
            'oxidation_states': states,
            **arrangement.record(),
        }
        return atoms, record

    def _realise(self, requirements: Requirements, supercell: Repeats | None, tolerance: float) -> _Realisation:
        """Return the supercell and the numbers of atoms in it."""
        mean = sum(sum(self.fractions[pool].values()) for pool in self._pools)
        cell = Atoms('H' * max(1, round(len(self._fixed) + mean)), cell=self._fixed.cell, pbc=True)
        repeats = given_repeats(len(cell), supercell) or choose_repeats(
            cell, {'H': 1.0}, requirements, tolerance=1.0,
            suits=lambda n_cells: self._balanced(n_cells, tolerance) is not None,
        )  # fmt: skip
        found = self._balanced(prod(repeats), tolerance)
        if found is not None:
            return _Realisation(repeats, *found)
        size = 'this supercell' if supercell else f'cells of up to {counted(requirements.max_atoms, "atom")}'
        for pool, fractions in enumerate(self.fractions):
            n_sites = prod(repeats) * int(np.sum(self._pools == pool))
            if not next(iter(self._options(pool, prod(repeats), tolerance)), None):
                wanted = ' '.join(f'{symbol} {occupancy:g}' for symbol, occupancy in fractions.items())
                counts = nearest_counts(_with_vacancy(fractions), n_sites)
                nearest = ' '.join(f'{symbol} {counts[symbol] / n_sites:.4g}' for symbol in fractions)
                raise AutopipeError(
                    Code.COMPOSITION_IMPOSSIBLE,
                    f'{self.name}: {size} cannot realise the occupancy {wanted} within {tolerance:g}; the nearest on '
                    f'{counted(n_sites, "site")} is {nearest}; use a larger supercell or raise composition_tolerance',
                )
        raise AutopipeError(
            Code.CHARGE_UNBALANCED,
            f'{self.name}: no oxidation states balance the occupancies in {size} within {tolerance:g}; use a larger '
            'supercell or raise composition_tolerance',
        )

    def _balanced(self, n_cells: int, tolerance: float) -> tuple[Counts, Guess] | None:
        """Return the nearest numbers of atoms that can be neutral, preferably with one oxidation state per element."""
        options = [list(self._options(pool, n_cells, tolerance)) for pool in range(len(self.fractions))]
        fixed = {symbol: number * n_cells for symbol, number in self._fixed.symbols.formula.count().items()}
        second = None
        for counts in islice(product(*options), N_OPTIONS):
            total = dict(fixed)
            for found in counts:
                for symbol, number in found.items():
                    if symbol != VACANCY and number:
                        total[symbol] = total.get(symbol, 0) + number
            guess = guess_states(total)
            if guess is None:
                continue
            if all(len(states) == 1 for states in guess.amounts.values()):
                return counts, guess
            second = second or (counts, guess)
        return second

    def _options(self, pool: int, n_cells: int, tolerance: float) -> Iterator[dict[str, int]]:
        """Yield numbers of atoms and vacancies in a pool that are within the tolerance, the nearest ones first."""
        n_sites = n_cells * int(np.sum(self._pools == pool))
        fractions = _with_vacancy(self.fractions[pool])
        nearest = nearest_counts(fractions, n_sites)
        found = [nearest]
        for shift, (one, other) in product(range(1, MAX_SHIFT + 1), product(fractions, repeat=2)):
            if one != other:
                found.append({**nearest, one: nearest[one] + shift, other: nearest[other] - shift})

        def deviation(counts: dict[str, int]) -> float:
            if min(counts.values()) < 0 or any(not counts[symbol] for symbol in self.fractions[pool]):
                return float('inf')
            return round(max(abs(number / n_sites - fractions[s]) for s, number in counts.items()), 9)

        yield from sorted((counts for counts in found if deviation(counts) <= tolerance), key=deviation)

    def _limit(self, one: int, other: int, exclusion_A: float, states: dict[str, float]) -> float:
        """Return the minimum distance in Å between two occupied sites."""
        from ase.data import atomic_numbers, covalent_radii

        if all(VACANCY not in _with_vacancy(self.fractions[pool]) for pool in (one, other)):
            return 0.0  # all these sites are occupied
        limits = []
        for first, second in product(self.fractions[one], self.fractions[other]):
            is_like = first == second or states.get(first, 0.0) * states.get(second, 0.0) > 0
            radii = covalent_radii[atomic_numbers[first]] + covalent_radii[atomic_numbers[second]]
            limits.append(exclusion_A if is_like else CONTACT_FACTOR * float(radii))
        return min(limits)


def is_full(occupancies: dict[str, float]) -> bool:
    """Return whether a site has exactly one atom."""
    return len(occupancies) == 1 and abs(sum(occupancies.values()) - 1) <= OCCUPANCY_TOLERANCE


def _with_vacancy(fractions: dict[str, float]) -> dict[str, float]:
    """Return the fractions, including that of vacancies unless the sites are full."""
    empty = 1 - sum(fractions.values())
    total = max(1.0, sum(fractions.values()))
    known = {symbol: fraction / total for symbol, fraction in fractions.items()}
    return {**known, VACANCY: empty} if empty > OCCUPANCY_TOLERANCE else known
