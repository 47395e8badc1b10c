"""Substitutional alloys: elements at random, quasi-random or ordered on the sites of a lattice."""

from __future__ import annotations

from itertools import product
from typing import Annotated, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.generation.base import Generator, GeneratorSettings, Parent, Requirements
from aiida_mlip_autopipe.generation.chemistry.elements import Composition, Element, realise_counts
from aiida_mlip_autopipe.generation.crystals.lattices import Lattice, unit_cell, vegard_lattice
from aiida_mlip_autopipe.generation.crystals.ordered import ORDERS, assign_roles, ordered_cell
from aiida_mlip_autopipe.generation.crystals.sqs import SqsSettings, find_sqs
from aiida_mlip_autopipe.generation.crystals.supercells import Repeats, check_composition, choose_repeats

N_RANDOM_SEEDS = 10
NOT_REPEATED = (False, False, False)


class CompositionGrid(Settings):
    """All compositions of some elements in steps."""

    elements: Annotated[tuple[Element, ...], Field(min_length=2, max_length=6)]
    """The elements."""
    step: float = Field(default=0.25, gt=0, le=0.5)
    """Step of the fractions; 1 is a multiple of it."""
    ends: bool = True
    """Include the compositions that lack an element, down to the pure ones."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if abs(round(1 / self.step) * self.step - 1) > 1e-2:
            raise fault(Code.VALUE_INVALID, f'1 must be a multiple of the step; {1 / round(1 / self.step):.6g} is near')
        if not self.points:
            raise fault(
                Code.VALUE_INVALID, 'no composition of the grid holds all elements; take a smaller step or set ends'
            )
        return self

    @property
    def points(self) -> list[dict[str, float]]:
        """The compositions of the grid, from the last element's end to the first one's."""
        n_steps = round(1 / self.step)
        parts = (parts for parts in product(range(n_steps + 1), repeat=len(self.elements)) if sum(parts) == n_steps)
        return [
            {symbol: part / n_steps for symbol, part in zip(self.elements, point, strict=True) if part}
            for point in parts
            if self.ends or all(point)
        ]


class AlloySettings(GeneratorSettings):
    """A substitutional alloy."""

    kind: Literal['alloy'] = 'alloy'
    """Substitutional alloy."""
    composition: Composition | None = None
    """Fraction of each element, as {Cu: 0.5, Au: 0.5}; they sum to 1 within 0.002."""
    composition_grid: CompositionGrid | None = None
    """All compositions of a binary, ternary … instead: the seeds take them in turn, one of each by default."""
    arrangement: Literal['random', 'sqs', 'L1_0', 'L1_1', 'L1_2', 'D0_22', 'B2', 'B32', 'D0_3', 'L2_1', 'D0_19'] = (
        'random'
    )
    """How the elements share the sites: at random, as special quasi-random structure, or ordered."""
    solutes: dict[Element, PositiveInt] = Field(default_factory=dict)
    """Atoms of each further element, put on random sites of the cell: a dilute alloy."""
    lattice: Lattice | None = None
    """The lattice whose sites are shared; by default fcc, or that of the ordered arrangement."""
    a_A: PositiveFloat | None = None
    """Lattice constant in Å; by default from Vegard's law."""
    c_over_a: PositiveFloat | None = None
    """c/a of an hcp lattice; by default from Vegard's law too."""
    supercell: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    """Repeats of the conventional cell (hcp: the hexagonal cell of two atoms) or of the ordered cell."""
    n_atoms: PositiveInt | None = None
    """Number of atoms wanted, in place of `supercell`: the nearest compact cell is taken. Without both, the smallest
    cell that is high enough for the calculator and holds the composition."""
    composition_tolerance: float = Field(default=0.02, gt=0, le=0.5)
    """Largest deviation of a realised fraction from the one asked for. No element may be lost."""
    sqs: SqsSettings = SqsSettings()
    """How a special quasi-random structure is searched for."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if self.composition is None and self.composition_grid is None:
            raise fault(Code.VALUES_INCOMPLETE, 'give composition or composition_grid')
        if self.composition is not None and self.composition_grid is not None:
            raise fault(Code.VALUES_EXCLUDE, 'give composition or composition_grid, not both')
        if self.supercell and self.n_atoms:
            raise fault(Code.VALUES_EXCLUDE, 'give supercell or n_atoms, not both')
        if self.is_ordered:
            if self.composition is None:
                raise fault(Code.VALUES_EXCLUDE, f'{self.arrangement} takes one composition')
            if self.lattice and self.lattice != ORDERS[self.arrangement].lattice:
                raise fault(
                    Code.VALUES_EXCLUDE,
                    f'{self.arrangement} is an arrangement of the {ORDERS[self.arrangement].lattice} lattice',
                )
            try:
                assign_roles(self.arrangement, self.composition)
            except AutopipeError as error:
                raise fault(error.code, str(error)) from None
        if self.c_over_a and self.sites != 'hcp':
            raise fault(Code.VALUES_EXCLUDE, f'c_over_a belongs to the hcp lattice, not to {self.sites}')
        return self

    @property
    def is_ordered(self) -> bool:
        """Whether the arrangement is an ordered one."""
        return self.arrangement in ORDERS

    @property
    def sites(self) -> Lattice:
        """The lattice."""
        return ORDERS[self.arrangement].lattice if self.is_ordered else self.lattice or 'fcc'

    def elements(self) -> frozenset[str]:
        """Return the elements of all compositions, and the solutes."""
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
    def spreads_itself(self) -> bool:
        """Whether several annealings are asked for each quasi-random structure."""
        return self.settings.arrangement == 'sqs' and self.settings.sqs.n_restarts > 1

    def n_parents(self) -> int | None:
        """Return 1 for an ordered alloy and a pure element; all others are drawn anew."""
        settings = self.settings
        fixed = settings.is_ordered or (settings.composition is not None and len(settings.composition) == 1)
        return 1 if fixed and not settings.solutes else None

    def period(self) -> int:
        """Return the number of compositions."""
        return len(self.compositions)

    def n_samples(self) -> int:
        """Return 1: `check` looks at all compositions without searching for quasi-random structures."""
        return 1

    def default_n_seeds(self) -> int:
        """Return one seed for each composition of a grid, ten of a single random composition."""
        if self.n_parents() is not None:
            return super().default_n_seeds()
        points = len(self.compositions) if self.settings.composition_grid else N_RANDOM_SEEDS
        return points * self.settings.perturb.variants

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return the lattice with the elements arranged on its sites."""
        settings = self.settings
        point = index % len(self.compositions)
        template, repeats, record = self._known_template(point, requirements)
        atoms = template.copy()
        record = dict(record)
        if not settings.is_ordered:
            counts = realise_counts(self.compositions[point], len(atoms))
            if settings.arrangement == 'sqs' and len(counts) > 1:
                unit = unit_cell(settings.sites, float(record['a_A']), float(record['c_over_a']))  # type: ignore[arg-type]
                atoms, record['short_range_order'] = find_sqs(unit, counts, repeats, settings.sqs, rng)
            else:
                _spread(atoms, counts, rng)
        if settings.solutes:
            _dissolve(atoms, settings.solutes, rng)
        record['composition'] = _fractions(atoms)
        # A repeated random arrangement is no longer random: its cell is chosen large enough beforehand or refused.
        return Parent(atoms, record, repeatable=None if self.n_parents() == 1 else NOT_REPEATED)

    def check(self, requirements: Requirements) -> None:
        """Refuse a grid of which a cell cannot hold every composition."""
        for point in range(len(self.compositions)):
            self._known_template(point, requirements)

    def n_units(self) -> int | None:
        """Return 1 for an ordered crystal; the sites of all others are filled at random."""
        return self.n_parents()

    def draw_unit(self, index: int) -> Atoms:
        """Return the ordered cell, or the empty lattice's."""
        composition = self.compositions[index % len(self.compositions)]
        return self._unit(composition)[0]

    def fill(self, atoms: Atoms, rng: np.random.Generator) -> dict[str, object]:
        """Spread the elements over the sites at random."""
        settings = self.settings
        if settings.is_ordered and not settings.solutes:
            return {'arrangement': settings.arrangement}
        if settings.composition is None:
            raise AutopipeError(
                Code.HOST_UNSUITABLE,
                'a surface or boundary of an alloy takes one composition: write one entry for each',
            )
        record: dict[str, object] = {'arrangement': settings.arrangement}
        if not settings.is_ordered:
            check_composition(settings.composition, len(atoms), settings.composition_tolerance)
            counts = realise_counts(settings.composition, len(atoms))
            if settings.arrangement == 'sqs' and len(counts) > 1:
                found, record['short_range_order'] = find_sqs(atoms, counts, (1, 1, 1), settings.sqs, rng)
                atoms.symbols[:] = found.get_chemical_symbols()
            else:
                _spread(atoms, counts, rng)
        if settings.solutes:
            _dissolve(atoms, settings.solutes, rng)
        return {**record, 'composition': _fractions(atoms)}

    def _unit(self, composition: dict[str, float]) -> tuple[Atoms, float, float]:
        """Return the unit cell, ordered or empty, and its constants."""
        settings = self.settings
        a_A, c_over_a = vegard_lattice(composition, settings.sites)
        a_A, c_over_a = settings.a_A or a_A, settings.c_over_a or c_over_a
        if settings.is_ordered:
            return ordered_cell(settings.arrangement, composition, a_A, c_over_a), a_A, c_over_a
        cell = unit_cell(settings.sites, a_A, c_over_a)
        cell.set_chemical_symbols([max(composition, key=lambda symbol: composition[symbol])] * len(cell))
        return cell, a_A, c_over_a

    def _known_template(self, point: int, requirements: Requirements) -> tuple[Atoms, Repeats, dict[str, object]]:
        if (point, requirements) not in self._templates:
            self._templates[point, requirements] = self._template(self.compositions[point], requirements)
        return self._templates[point, requirements]

    def _template(
        self, composition: dict[str, float], requirements: Requirements
    ) -> tuple[Atoms, Repeats, dict[str, object]]:
        """Return the lattice (ordered where it is), its repeats, and what is known of it."""
        settings = self.settings
        cell, a_A, c_over_a = self._unit(composition)
        # The ordered cell holds the composition whatever its repeats.
        tolerance = 1.0 if settings.is_ordered else settings.composition_tolerance
        repeats = settings.supercell or choose_repeats(
            cell, composition, requirements, n_atoms=settings.n_atoms, tolerance=tolerance
        )
        if not settings.is_ordered:
            check_composition(composition, len(cell) * int(np.prod(repeats)), tolerance)
        record: dict[str, object] = {
            'lattice': settings.sites,
            'arrangement': settings.arrangement,
            'a_A': a_A,
            'c_over_a': c_over_a if settings.sites == 'hcp' else 1.0,
            'supercell': list(repeats),
        }
        return cell.repeat(repeats), repeats, record


def _spread(atoms: Atoms, counts: dict[str, int], rng: np.random.Generator) -> None:
    """Put elements on random sites; a pure one takes no random number, since another draw would give the same."""
    symbols = np.repeat(list(counts), list(counts.values()))
    atoms.set_chemical_symbols((rng.permutation(symbols) if len(counts) > 1 else symbols).tolist())


def _fractions(atoms: Atoms) -> dict[str, float]:
    return {symbol: count / len(atoms) for symbol, count in sorted(atoms.symbols.formula.count().items())}


def _dissolve(atoms: Atoms, solutes: dict[str, int], rng: np.random.Generator) -> None:
    """Put solute atoms on random sites."""
    symbols = np.repeat(list(solutes), list(solutes.values()))
    if len(symbols) >= len(atoms):
        raise AutopipeError(
            Code.TOO_MANY_DEFECTS,
            f'{len(symbols)} solute atoms do not fit in a cell of {len(atoms)} atoms; at least one must stay',
        )
    for site, symbol in zip(rng.choice(len(atoms), len(symbols), replace=False), symbols, strict=True):
        atoms.symbols[int(site)] = str(symbol)


VARIANT = AlloyGenerator
