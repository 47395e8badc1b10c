"""Substitutional alloys: random, quasi-random or ordered arrangements of elements on a lattice."""

from __future__ import annotations

from collections.abc import Iterator
from math import comb
from typing import Annotated, Literal, Self

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.generation.base import Generator, GeneratorSettings, Parent, Requirements
from aiida_mlip_autopipe.generation.chemistry.elements import Composition, Element, nearest_counts
from aiida_mlip_autopipe.generation.crystals.lattices import (
    Lattice,
    ground_state,
    unit_cell,
    vegard_c_over_a,
    vegard_lattice,
)
from aiida_mlip_autopipe.generation.crystals.ordered import ORDERS, assign_roles, ordered_cell
from aiida_mlip_autopipe.generation.crystals.sqs import SqsSettings, find_sqs
from aiida_mlip_autopipe.generation.crystals.supercells import Repeats, check_composition, choose_repeats, given_repeats

N_RANDOM_SEEDS = 10
MAX_POINTS = 10_000
"""Maximum number of compositions of a grid."""
NOT_REPEATED = (False, False, False)


class CompositionGrid(Settings):
    """All compositions of some elements on a regular grid."""

    elements: Annotated[tuple[Element, ...], Field(min_length=2, max_length=6)]
    """The elements."""
    step: float = Field(default=0.25, ge=0.001, le=0.5)
    """Step between fractions; it must divide 1 evenly."""
    ends: bool = True
    """Include compositions that lack some of the elements, down to the pure elements."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if abs(round(1 / self.step) * self.step - 1) > 1e-2:
            nearest = 1 / round(1 / self.step)
            raise fault(Code.VALUE_INVALID, f'the step must divide 1 evenly; for example, use {nearest:.6g}')
        n_points = comb(round(1 / self.step) + len(self.elements) - 1, len(self.elements) - 1)
        if n_points > MAX_POINTS:
            raise fault(Code.OUT_OF_RANGE, f'the grid has {n_points:g} compositions; at most {MAX_POINTS} are allowed')
        if not self.points:
            raise fault(
                Code.VALUE_INVALID,
                'no composition contains all elements; use a smaller step or set ends: true',
            )
        return self

    @property
    def points(self) -> list[dict[str, float]]:
        """The compositions of the grid, from the pure last element to the pure first element."""
        n_steps = round(1 / self.step)
        return [
            {symbol: part / n_steps for symbol, part in zip(self.elements, point, strict=True) if part}
            for point in _partitions(n_steps, len(self.elements))
            if self.ends or all(point)
        ]


def _partitions(total: int, n_parts: int) -> Iterator[tuple[int, ...]]:
    """Yield all tuples of non-negative integers with a given sum, in lexicographic order."""
    if n_parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _partitions(total - first, n_parts - 1):
            yield (first, *rest)


class AlloySettings(GeneratorSettings):
    """A substitutional alloy."""

    kind: Literal['alloy'] = 'alloy'
    """Substitutional alloy."""
    composition: Composition | None = None
    """Fraction of each element, such as {Cu: 0.5, Au: 0.5}. The fractions must sum to 1 to within 0.002."""
    composition_grid: CompositionGrid | None = None
    """A grid of compositions, instead of `composition`. The seeds use them in turn. By default, each gives one seed."""
    arrangement: Literal['random', 'sqs', 'L1_0', 'L1_1', 'L1_2', 'D0_22', 'B2', 'B32', 'D0_3', 'L2_1', 'D0_19'] = (
        'random'
    )
    """How the elements are arranged on the sites: at random, as a special quasi-random structure, or ordered."""
    solutes: dict[Element, PositiveInt] = Field(default_factory=dict)
    """Number of solute atoms by element, for a dilute alloy. They replace atoms on random sites."""
    lattice: Lattice | None = None
    """The lattice; by default that of the ordered arrangement, otherwise fcc."""
    a_A: PositiveFloat | None = None
    """Lattice constant in Å; by default from Vegard's law."""
    c_over_a: PositiveFloat | None = None
    """c/a ratio of an hcp lattice; by default from Vegard's law."""
    supercell: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    """Number of repeats along each vector of the conventional cell (two atoms for hcp) or of the ordered cell."""
    n_atoms: PositiveInt | None = None
    """Approximate number of atoms, instead of `supercell`; the nearest compact cell is used. By default, the smallest
    cell that is wide enough for the calculator and in which the composition is possible."""
    composition_tolerance: float = Field(default=0.02, gt=0, le=0.5)
    """Maximum deviation of a fraction in the cell from `composition`. Every element has at least one atom."""
    sqs: SqsSettings = SqsSettings()
    """Settings of the search for special quasi-random structures."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if self.composition is None and self.composition_grid is None:
            raise fault(Code.VALUES_INCOMPLETE, 'set composition or composition_grid')
        if self.composition is not None and self.composition_grid is not None:
            raise fault(Code.VALUES_EXCLUDE, 'set composition or composition_grid, not both')
        if self.supercell and self.n_atoms:
            raise fault(Code.VALUES_EXCLUDE, 'set supercell or n_atoms, not both')
        if self.is_ordered:
            if self.composition is None:
                raise fault(Code.VALUES_EXCLUDE, f'{self.arrangement} needs composition, not composition_grid')
            if self.lattice and self.lattice != ORDERS[self.arrangement].lattice:
                raise fault(
                    Code.VALUES_EXCLUDE,
                    f'{self.arrangement} is an arrangement on the {ORDERS[self.arrangement].lattice} lattice',
                )
            try:
                assign_roles(self.arrangement, self.composition)
            except AutopipeError as error:
                raise fault(error.code, str(error)) from None
        if self.c_over_a and self.chosen_lattice != 'hcp':
            raise fault(Code.VALUES_EXCLUDE, f'c_over_a applies to the hcp lattice, not to {self.chosen_lattice}')
        return self

    @property
    def is_ordered(self) -> bool:
        """Whether the arrangement is ordered."""
        return self.arrangement in ORDERS

    @property
    def chosen_lattice(self) -> Lattice:
        """The lattice, or its default."""
        return ORDERS[self.arrangement].lattice if self.is_ordered else self.lattice or 'fcc'

    def elements(self) -> frozenset[str]:
        """Return the elements of all compositions and the solutes."""
        grid = self.composition_grid.elements if self.composition_grid else ()
        return frozenset({*(self.composition or ()), *grid, *self.solutes})


class AlloyGenerator(Generator):
    """Solid solutions, quasi-random structures and ordered alloys."""

    settings_class = AlloySettings
    settings: AlloySettings

    def __init__(self, settings: AlloySettings):
        super().__init__(settings)
        grid = settings.composition_grid
        self.compositions = grid.points if grid else [settings.composition or {}]
        self._templates: dict[tuple[int, Requirements], tuple[Atoms, Repeats, dict[str, object]]] = {}

    @property
    def is_parallel(self) -> bool:
        """Whether each quasi-random structure needs several annealing runs."""
        return self.settings.arrangement == 'sqs' and self.settings.sqs.n_restarts > 1

    def n_parents(self) -> int | None:
        """Return 1 for an ordered alloy or a pure element without solutes, and None for random arrangements."""
        settings = self.settings
        fixed = settings.is_ordered or (settings.composition is not None and len(settings.composition) == 1)
        return 1 if fixed and not settings.solutes else None

    def period(self) -> int:
        """Return the number of compositions."""
        return len(self.compositions)

    def n_parents_to_check(self) -> int:
        """Return 1, since `check` covers all compositions without a search for quasi-random structures."""
        return 1

    def default_n_seeds(self) -> int:
        """Return the number of seeds: one for each composition of a grid, or ten for a single random alloy."""
        if self.n_parents() is not None:
            return super().default_n_seeds()
        points = len(self.compositions) if self.settings.composition_grid else N_RANDOM_SEEDS
        return points * self.settings.perturb.variants

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return the lattice with the elements arranged on its sites."""
        settings = self.settings
        point = index % len(self.compositions)
        template, repeats, record = self._cached_template(point, requirements)
        atoms = template.copy()
        record = dict(record)
        if not settings.is_ordered:
            counts = nearest_counts(self.compositions[point], len(atoms))
            if settings.arrangement == 'sqs' and len(counts) > 1:
                unit = unit_cell(settings.chosen_lattice, float(record['a_A']), float(record['c_over_a']))  # type: ignore[arg-type]
                atoms, record['short_range_order'] = find_sqs(unit, counts, repeats, settings.sqs, rng)
            else:
                _arrange(atoms, counts, rng)
        if settings.solutes:
            _dissolve(atoms, settings.solutes, rng)
        record['composition'] = _fractions(atoms)
        # A repeated random arrangement is not random, so the cell must be large enough from the start.
        return Parent(atoms, record, repeatable=None if self.n_parents() == 1 else NOT_REPEATED)

    def check(self, requirements: Requirements) -> None:
        """Refuse a grid if one of its compositions is not possible in the cell."""
        for point in range(len(self.compositions)):
            self._cached_template(point, requirements)

    def notes(self) -> list[str]:
        """Return one sentence if the default lattice is not that of the most frequent elements."""
        if self.settings.is_ordered or self.settings.lattice:
            return []
        lattice = self.settings.chosen_lattice
        majority = {max(found, key=lambda symbol: found[symbol]) for found in self.compositions}
        others = [f'{s} is {found}' for s in sorted(majority) if (found := ground_state(s)) not in (lattice, None)]
        if not others:
            return []
        return [f'the lattice is {lattice}, the default, but {", ".join(others)} at ambient conditions; set lattice']

    def n_units(self) -> int | None:
        """Return 1 for an ordered alloy or a pure element, and None if `fill` arranges the elements at random."""
        return self.n_parents()

    def draw_unit(self, index: int) -> Atoms:
        """Return the ordered cell, or the unit cell of the lattice with placeholders."""
        composition = self.compositions[index % len(self.compositions)]
        return self._unit(composition)[0]

    def fill(self, atoms: Atoms, rng: np.random.Generator) -> dict[str, object]:
        """Arrange the elements on the sites."""
        settings = self.settings
        if settings.is_ordered and not settings.solutes:
            return {'arrangement': settings.arrangement}
        if settings.composition is None:
            raise AutopipeError(
                Code.HOST_UNSUITABLE,
                'a surface or grain boundary of an alloy needs one composition; write one entry for each composition',
            )
        record: dict[str, object] = {'arrangement': settings.arrangement}
        if not settings.is_ordered:
            check_composition(settings.composition, len(atoms), settings.composition_tolerance)
            counts = nearest_counts(settings.composition, len(atoms))
            if settings.arrangement == 'sqs' and len(counts) > 1:
                found, record['short_range_order'] = find_sqs(atoms, counts, (1, 1, 1), settings.sqs, rng)
                atoms.symbols[:] = found.get_chemical_symbols()
            else:
                _arrange(atoms, counts, rng)
        if settings.solutes:
            _dissolve(atoms, settings.solutes, rng)
        return {**record, 'composition': _fractions(atoms)}

    def _unit(self, composition: dict[str, float]) -> tuple[Atoms, float, float]:
        """Return the unit cell (ordered or with placeholders), a and c/a."""
        settings = self.settings
        a_A = settings.a_A or vegard_lattice(composition, settings.chosen_lattice)[0]
        c_over_a = settings.c_over_a or vegard_c_over_a(composition)
        if settings.is_ordered:
            return ordered_cell(settings.arrangement, composition, a_A, c_over_a), a_A, c_over_a
        cell = unit_cell(settings.chosen_lattice, a_A, c_over_a)
        cell.set_chemical_symbols([max(composition, key=lambda symbol: composition[symbol])] * len(cell))
        return cell, a_A, c_over_a

    def _cached_template(self, point: int, requirements: Requirements) -> tuple[Atoms, Repeats, dict[str, object]]:
        if (point, requirements) not in self._templates:
            self._templates[point, requirements] = self._make_template(self.compositions[point], requirements)
        return self._templates[point, requirements]

    def _make_template(
        self, composition: dict[str, float], requirements: Requirements
    ) -> tuple[Atoms, Repeats, dict[str, object]]:
        """Return the supercell, its repeats, and their record."""
        settings = self.settings
        cell, a_A, c_over_a = self._unit(composition)
        # An ordered cell has its composition at any number of repeats.
        tolerance = 1.0 if settings.is_ordered else settings.composition_tolerance
        repeats = given_repeats(len(cell), settings.supercell) or choose_repeats(
            cell, composition, requirements, n_atoms=settings.n_atoms, tolerance=tolerance
        )
        if not settings.is_ordered:
            check_composition(composition, len(cell) * int(np.prod(repeats)), tolerance)
        record: dict[str, object] = {
            'lattice': settings.chosen_lattice,
            'arrangement': settings.arrangement,
            'a_A': a_A,
            'c_over_a': c_over_a if settings.chosen_lattice == 'hcp' else 1.0,
            'supercell': list(repeats),
        }
        return cell.repeat(repeats), repeats, record


def _arrange(atoms: Atoms, counts: dict[str, int], rng: np.random.Generator) -> None:
    """Put elements on random sites. A pure element uses no random numbers, since every draw would be the same."""
    symbols = np.repeat(list(counts), list(counts.values()))
    atoms.set_chemical_symbols((rng.permutation(symbols) if len(counts) > 1 else symbols).tolist())


def _fractions(atoms: Atoms) -> dict[str, float]:
    numbers, counts = np.unique(atoms.numbers, return_counts=True)  # faster than ASE's formula
    fractions = zip((chemical_symbols[number] for number in numbers), (counts / len(atoms)).tolist(), strict=True)
    return dict(sorted(fractions))


def _dissolve(atoms: Atoms, solutes: dict[str, int], rng: np.random.Generator) -> None:
    """Put solute atoms on random sites."""
    symbols = np.repeat(list(solutes), list(solutes.values()))
    if len(symbols) >= len(atoms):
        raise AutopipeError(
            Code.TOO_MANY_DEFECTS,
            f'a cell of {counted(len(atoms), "atom")} has no room for {counted(len(symbols), "solute atom")}; at least '
            'one atom of the host must remain',
        )
    for site, symbol in zip(rng.choice(len(atoms), len(symbols), replace=False), symbols, strict=True):
        atoms.symbols[int(site)] = str(symbol)


VARIANT = AlloyGenerator
