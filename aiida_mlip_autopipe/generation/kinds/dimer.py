"""Energy curves of two atoms, and grids of three atoms."""

from __future__ import annotations

from functools import cached_property
from itertools import combinations_with_replacement, product
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import AfterValidator, Field, PositiveFloat, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.generation.base import Parent, Requirements
from aiida_mlip_autopipe.generation.chemistry.elements import check_pair
from aiida_mlip_autopipe.generation.few_atoms import FewAtomsGenerator, FewAtomsSettings, in_box
from aiida_mlip_autopipe.generation.limits import check_time

N_POINTS = 20
DISTANCE_DECIMALS = 3  # of distances in Å, which are compared to find equal trimers

Trimer = tuple[tuple[str, str, str], tuple[float, float], float]
"""The elements with the central one in the middle, the two bond lengths in Å and the angle between them in degrees."""


class DimerSettings(FewAtomsSettings):
    """Pairs of atoms at increasing distances, and optionally trimers."""

    kind: Literal['dimer'] = 'dimer'
    """Pairs of atoms."""
    pairs: tuple[Annotated[str, AfterValidator(check_pair)], ...] = ()
    """Pairs of elements, such as [Cu-Cu, Cu-Au]; by default, all pairs of `symbols`, including those of one element."""
    n_points: int | None = Field(default=None, ge=2)
    """Number of distances of each pair, 20 by default. The ratio of one distance to the previous one is constant."""
    min_factor: float = Field(default=0.6, gt=0, le=2)
    """Smallest distance, divided by the sum of the covalent radii."""
    max_distance_A: PositiveFloat | None = None
    """Largest distance in Å; by default, the cutoff of the calculator."""
    distances_A: tuple[PositiveFloat, ...] = ()
    """Distances of all pairs in Å, instead of `n_points`, `min_factor` and `max_distance_A`."""
    trimers: bool = False
    """Also make trimers of all combinations of elements, on a grid of two bond lengths and the angle between
    them."""
    trimer_factors: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (0.8, 1.0, 1.3)
    """Bond lengths of the trimers, divided by the sum of the covalent radii."""
    trimer_angles_deg: Annotated[tuple[Annotated[float, Field(gt=0, le=180)], ...], Field(min_length=1)] = (
        60.0, 90.0, 120.0, 180.0,
    )  # fmt: skip
    """Angles between the two bonds in degrees."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if self.symbols and self.pairs:
            raise fault(Code.VALUES_EXCLUDE, 'set symbols or pairs, not both')
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        if self.distances_A and (self.n_points or self.max_distance_A or self.min_factor != defaults['min_factor']):
            raise fault(
                Code.VALUES_EXCLUDE, 'distances_A replaces n_points, min_factor and max_distance_A; remove them'
            )
        if len(set(self.distances_A)) < len(self.distances_A):
            raise fault(Code.VALUE_INVALID, 'distances_A contains the same distance twice')
        is_grid_set = any(getattr(self, name) != defaults[name] for name in ('trimer_factors', 'trimer_angles_deg'))
        if is_grid_set and not self.trimers:
            raise fault(Code.VALUES_INCOMPLETE, 'trimer_factors and trimer_angles_deg need trimers: true')
        return self

    @property
    def needs_symbols(self) -> bool:
        """Whether the elements are still to be taken from the other entries."""
        return not self.symbols and not self.pairs

    def elements(self) -> frozenset[str]:
        """Return the elements of all pairs."""
        return frozenset(symbol for pair in self.pairs for symbol in pair.split('-')) or super().elements()

    @property
    def all_pairs(self) -> list[tuple[str, str]]:
        """The pairs of elements."""
        if not self.pairs:
            return list(combinations_with_replacement(dict.fromkeys(self.symbols), 2))
        pairs: dict[frozenset[str], tuple[str, str]] = {}
        for pair in self.pairs:
            first, second = pair.split('-')
            pairs.setdefault(frozenset((first, second)), (first, second))
        return list(pairs.values())


class DimerGenerator(FewAtomsGenerator):
    """Makes the curve of each pair, then the trimers."""

    settings_class = DimerSettings
    settings: DimerSettings

    @property
    def _n_distances(self) -> int:
        return len(self.settings.distances_A) or self.settings.n_points or N_POINTS

    @cached_property
    def _trimers(self) -> tuple[list[Trimer], int]:
        """All different trimers, and the number of those left out because their ends are too close."""
        if not self.settings.trimers:
            return [], 0
        found: dict[tuple[tuple[str, str, float], ...], Trimer] = {}
        n_close = 0
        symbols = sorted(self.settings.elements())
        for centre, ends in product(symbols, combinations_with_replacement(symbols, 2)):
            check_time()
            elements = (ends[0], centre, ends[1])
            grid = product(self.settings.trimer_factors, self.settings.trimer_factors, self.settings.trimer_angles_deg)
            for first, second, angle in grid:
                bonds = first * _radii_sum(ends[0], centre), second * _radii_sum(ends[1], centre)
                sides = _sides(elements, bonds, angle)
                if sides[2][2] < self.settings.min_factor * _radii_sum(*ends):
                    n_close += 1
                else:
                    found.setdefault(tuple(sorted(sides)), (elements, bonds, angle))
        return list(found.values()), n_close

    def n_parents(self) -> int:
        """Return the number of dimers and trimers."""
        self.settings.elements()
        return len(self.settings.all_pairs) * self._n_distances + len(self._trimers[0])

    def check(self, requirements: Requirements) -> None:
        """Refuse more seeds than structures, and a largest distance below the smallest."""
        super().check(requirements)
        for pair in self.settings.all_pairs:
            self._distances(pair, requirements)

    def notes(self) -> list[str]:
        """Return how many points of the grid of trimers are left out."""
        n_close = self._trimers[1]
        return [f'trimers left out because their ends are closer than min_factor allows: {n_close}'] if n_close else []

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return a dimer or a trimer in a box."""
        pairs, n_distances = self.settings.all_pairs, self._n_distances
        if index < len(pairs) * n_distances:
            pair, number = pairs[index // n_distances], index % n_distances
            distance_A = float(self._distances(pair, requirements)[number])
            record = {'pair': '-'.join(pair), 'distance_A': distance_A}
            return in_box(pair, [[0, 0, 0], [0, 0, distance_A]], record)
        elements, bonds, angle = self._trimers[0][index - len(pairs) * n_distances]
        positions = [[0.0, 0.0, bonds[0]], [0.0, 0.0, 0.0], _end(bonds[1], angle)]
        return in_box(elements, positions, {'trimer': '-'.join(elements), 'distances_A': bonds, 'angle_deg': angle})

    def _distances(self, pair: tuple[str, str], requirements: Requirements) -> np.ndarray:
        """Return the distances of a pair in Å."""
        settings = self.settings
        if settings.distances_A:
            return np.array(settings.distances_A)
        shortest, longest = settings.min_factor * _radii_sum(*pair), settings.max_distance_A or requirements.cutoff_A
        if longest <= shortest:
            raise AutopipeError(
                Code.OUT_OF_RANGE,
                f'the largest distance of {"-".join(pair)} is {longest:g} Å; it must be above the smallest, '
                f'{shortest:.3f} Å; set max_distance_A',
            )
        steps = np.arange(self._n_distances) / (self._n_distances - 1)
        return np.asarray(shortest * (longest / shortest) ** steps)


def _radii_sum(first: str, second: str) -> float:
    """Return the sum of the covalent radii of two elements in Å [Cordero 2008 in ASE]."""
    from ase.data import atomic_numbers, covalent_radii

    return float(covalent_radii[atomic_numbers[first]] + covalent_radii[atomic_numbers[second]])


def _end(bond_A: float, angle_deg: float) -> list[float]:
    angle = np.radians(angle_deg)
    return [bond_A * float(np.sin(angle)), 0.0, bond_A * float(np.cos(angle))]


def _sides(
    elements: tuple[str, str, str], bonds_A: tuple[float, float], angle_deg: float
) -> list[tuple[str, str, float]]:
    """Return the elements and the length of each side of a trimer; that between its ends is the last."""
    first, centre, second = elements
    span = float(np.linalg.norm(np.subtract(_end(bonds_A[1], angle_deg), [0, 0, bonds_A[0]])))
    sides = [(first, centre, bonds_A[0]), (second, centre, bonds_A[1]), (first, second, span)]
    return [(min(one, other), max(one, other), round(length, DISTANCE_DECIMALS)) for one, other, length in sides]


VARIANT = DimerGenerator
