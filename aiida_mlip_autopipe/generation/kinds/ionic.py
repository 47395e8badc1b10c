"""Ionic crystals: ions on the sites of a structure type, with formal charges that sum to zero."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import Annotated, Any, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, PhysicsViolationError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.generation.base import Generator, GeneratorSettings, Parent, Requirements
from aiida_mlip_autopipe.generation.chemistry.compensation import Chemistry, Counts, Ions
from aiida_mlip_autopipe.generation.chemistry.elements import Element, Occupation, nearest_counts
from aiida_mlip_autopipe.generation.chemistry.oxidation import States, describe_states, ionic_radius
from aiida_mlip_autopipe.generation.crystals.prototypes import PROTOTYPES, ROLES, bond_lengths, prototype_cell
from aiida_mlip_autopipe.generation.crystals.supercells import Repeats, check_composition, choose_repeats, given_repeats
from aiida_mlip_autopipe.generation.crystals.tilts import MAX_TILT_DEG, TILT_SYSTEMS, tilted_cell
from aiida_mlip_autopipe.generation.report import notes_added_to
from aiida_mlip_autopipe.structures.voids import find_voids

N_RANDOM_SEEDS = 10
# With 120 cells, fractions such as 0.6667, 0.33 and 0.125 are rounded to the intended values.
CELLS_OF_IDEAL_CRYSTAL = 120

OxidationStates = Annotated[
    tuple[int, ...], BeforeValidator(lambda value: (value,) if isinstance(value, int) else value), Field(min_length=1)
]


class IonicSettings(GeneratorSettings):
    """An ionic crystal."""

    kind: Literal['ionic'] = 'ionic'
    """Ionic crystal."""
    prototype: Literal[
        'rocksalt', 'cesium_chloride', 'fluorite', 'antifluorite', 'zincblende', 'wurtzite', 'rutile', 'corundum',
        'perovskite', 'spinel', 'double_perovskite', 'inverse_spinel', 'layered_rocksalt',
        'olivine', 'garnet', 'NASICON',
    ]  # fmt: skip
    """The structure type."""
    sites: dict[Literal['A', 'B', "B'", 'T', 'X'], Occupation]
    """Elements on the cation sites and on the anion sites X: one element, or a composition, such as {A: {Zr: 0.9, Y:
    0.1}, X: O}. All structure types have cation sites A; perovskite, spinel and layered_rocksalt also have B;
    double_perovskite and inverse_spinel have ordered sites B and B', such as {A: Sr, B: Fe, B': Mo, X: O}; olivine,
    garnet and NASICON have A, B and the tetrahedral sites T, such as {A: Li, B: Fe, T: P, X: O}."""
    tilts: Literal['a0a0a0', 'a0a0c+', 'a0a0c-', 'a0b-b-', 'a-a-a-', 'a-b+a-'] = 'a0a0a0'
    """Tilts of the octahedra of a perovskite, in Glazer notation."""
    tilt_deg: float | None = Field(default=None, gt=0, le=MAX_TILT_DEG)
    """Angle about each tilt axis in degrees. The default is that of LaAlO3 for a-a-a-, of CaTiO3 for a-b+a- and of
    SrTiO3 at 4 K for a0a0c-; the other tilts have no default."""
    oxidation_states: dict[Element, OxidationStates] = Field(default_factory=dict)
    """Oxidation state of an element, or several for mixed valence; by default guessed from its common states."""
    compensation: Literal['auto', 'vacancies', 'none'] = 'auto'
    """Charge compensation for aliovalent ions: `auto` (an element in two common oxidation states, otherwise
    vacancies of the host's ions, otherwise rare states), `vacancies`, or `none`. The net charge is recorded."""
    schottky: int = Field(default=0, ge=0)
    """Number of formula units to remove from random sites (Schottky defects)."""
    frenkel: dict[Element, PositiveInt] = Field(default_factory=dict)
    """Number of ions to move from random sites to the largest voids, by element (Frenkel pairs)."""
    a_A: PositiveFloat | None = None
    """Lattice constant a of the conventional cell in Å; by default from Shannon's ionic radii."""
    supercell: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    """Number of repeats along each vector of the conventional cell."""
    n_atoms: PositiveInt | None = None
    """Approximate number of atoms, instead of `supercell`."""
    composition_tolerance: float = Field(default=0.02, gt=0, le=0.5)
    """Maximum deviation of a fraction on a site from that in `sites`. A vacancy counts as an ion of its element."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        roles = {role for role, _ in PROTOTYPES[self.prototype].sites}
        if set(self.sites) != roles:
            raise fault(Code.SITES_MISMATCH, f'{self.prototype} has the sites {", ".join(sorted(roles))}')
        if self.supercell and self.n_atoms:
            raise fault(Code.VALUES_EXCLUDE, 'set supercell or n_atoms, not both')
        self._check_tilts()
        for name in ('oxidation_states', 'frenkel'):
            for symbol in getattr(self, name):
                if symbol not in self.elements():
                    known = ', '.join(sorted(self.elements()))
                    raise fault(Code.KEY_UNKNOWN, f'{name}: {symbol} is not on the sites; their elements are {known}')
        return self

    def elements(self) -> frozenset[str]:
        """Return the elements on all sites."""
        return frozenset(symbol for occupation in self.sites.values() for symbol in occupation)

    def _check_tilts(self) -> None:
        if self.tilts == 'a0a0a0':
            if self.tilt_deg is not None:
                raise fault(Code.VALUES_INCOMPLETE, 'tilt_deg needs tilts, such as a-b+a-')
        elif self.prototype != 'perovskite':
            raise fault(Code.VALUES_EXCLUDE, f'tilts applies to perovskite, not to {self.prototype}')
        elif self.chosen_tilt_deg is None:
            raise fault(Code.VALUES_INCOMPLETE, f'{self.tilts} has no default angle; set tilt_deg')

    @property
    def chosen_tilt_deg(self) -> float | None:
        """The tilt angle in degrees, or its default."""
        return self.tilt_deg or TILT_SYSTEMS[self.tilts].default_deg


@dataclass
class _Plan:
    """The cell and the numbers of ions in it, which are the same in all seeds."""

    cell: Atoms
    roles: np.ndarray
    repeats: Repeats
    ions: Ions

    @cached_property
    def voids(self) -> np.ndarray:
        """The largest voids of the perfect crystal."""
        return find_voids(self.cell)


class IonicGenerator(Generator):
    """Makes pure and mixed ionic crystals, with charge compensation."""

    settings_class = IonicSettings
    settings: IonicSettings

    def __init__(self, settings: IonicSettings):
        super().__init__(settings)
        self._sites: dict[str, dict[str, float]] = {str(role): fractions for role, fractions in settings.sites.items()}
        self._chemistry = Chemistry(
            settings.prototype, self._sites, settings.oxidation_states, settings.compensation,
            settings.composition_tolerance,
        )  # fmt: skip
        self._plans: dict[Requirements, _Plan] = {}

    @property
    def _is_random(self) -> bool:
        settings = self.settings
        if self._chemistry.is_mixed or settings.schottky or settings.frenkel:
            return True
        return any(len(states) > 1 for states in self._ideal_states.values())

    def n_parents(self) -> int | None:
        """Return 1 for a pure crystal, and None for mixed sites, mixed valence or defects."""
        return None if self._is_random else 1

    def default_n_seeds(self) -> int:
        """Return the number of seeds: ten for random arrangements, or one for a pure crystal."""
        return N_RANDOM_SEEDS * self.settings.perturb.variants if self._is_random else super().default_n_seeds()

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return the crystal with ions arranged at random, and with vacancies and defects."""
        if requirements not in self._plans:
            self._plans[requirements] = self._make_plan(requirements)
        plan = self._plans[requirements]
        atoms = plan.cell.copy()
        record: dict[str, Any] = {
            'prototype': self.settings.prototype,
            'a_A': float(plan.cell.cell.lengths()[0] / plan.repeats[0]),
            'supercell': list(plan.repeats),
            **self._tilts,
            **self._arrange(atoms, plan, rng),
        }
        repeatable = (False, False, False) if self._is_random else None
        return Parent(atoms, record, repeatable=repeatable, charge_allowed=self.charge_allowed)

    def _arrange(self, atoms: Atoms, plan: _Plan, rng: np.random.Generator) -> dict[str, Any]:
        """Arrange the ions on their sites at random, make vacancies and defects, and return the record."""
        for role, counts in plan.ions.counts.items():
            symbols = rng.permutation(np.repeat(list(counts), list(counts.values())))
            atoms.symbols[plan.roles == role] = symbols.tolist()
        charges = np.zeros(len(atoms))
        for symbol, by_state in plan.ions.states.items():
            values = np.repeat(list(by_state), list(by_state.values()))
            charges[atoms.symbols == symbol] = rng.permutation(values)
        atoms.set_initial_charges(charges)
        removed = [
            int(site)
            for symbol, count in plan.ions.vacancies.items()
            for site in rng.choice(np.flatnonzero(atoms.symbols == symbol), count, replace=False)
        ]
        removed += self._schottky(atoms, plan.roles, set(removed), rng)
        record: dict[str, Any] = {
            'composition': plan.ions.counts,
            'oxidation_states': {s: {str(k): n for k, n in states.items()} for s, states in plan.ions.states.items()},
            'alternative_states': [describe_states(states) for states in plan.ions.alternatives],
            'compensation': self.settings.compensation,
        }
        if removed:
            record['vacancies'] = atoms[removed].symbols.formula.count()
            del atoms[removed]
        record['formal_charge'] = float(atoms.get_initial_charges().sum())
        for symbol, count in self.settings.frenkel.items():
            _move_to_voids(atoms, symbol, count, plan.voids, rng)
        if self.settings.frenkel:
            record['frenkel'] = dict(self.settings.frenkel)
        return record

    @property
    def _tilts(self) -> dict[str, Any]:
        """The record of the tilts."""
        settings = self.settings
        is_tilted = settings.tilts != 'a0a0a0'
        return {'tilts': settings.tilts, 'tilt_deg': settings.chosen_tilt_deg} if is_tilted else {}

    def _unit_cell(self) -> tuple[Atoms, np.ndarray]:
        """Return the conventional cell with a = 1 Å and placeholders, and the role of each atom."""
        settings = self.settings
        if settings.tilts == 'a0a0a0':
            return prototype_cell(settings.prototype)
        return tilted_cell(settings.tilts, settings.chosen_tilt_deg or 0.0)

    @property
    def charge_allowed(self) -> bool:
        """Whether the crystal may have a net charge."""
        return self.settings.compensation == 'none'

    def draw_unit(self, index: int) -> Atoms:
        """Return the conventional cell. In a mixed crystal, placeholders have the mean charge of their sites."""
        if not self._is_random:
            return super().draw_unit(index)
        with notes_added_to([]):  # no seed has the composition of this cell
            plan = self._make_plan(Requirements())
        means = {}
        for role, counts in plan.ions.counts.items():
            charges = {s: sum(state * n for state, n in plan.ions.states[s].items()) for s in counts}
            fractions = {s: n / sum(plan.ions.states[s].values()) / sum(counts.values()) for s, n in counts.items()}
            means[role] = sum(charges[s] * fractions[s] for s in counts)
        cell, roles = self._unit_cell()
        # The anions balance the charge that vacancies will compensate later, so that the cell is neutral.
        means['X'] = -sum(means[role] for role in roles if role != 'X') / int(np.sum(roles == 'X'))
        cell.set_cell(plan.cell.cell.array / np.array(plan.repeats)[:, None], scale_atoms=True)
        cell.set_initial_charges([means[role] for role in roles])
        return cell

    def fill(self, atoms: Atoms, rng: np.random.Generator) -> dict[str, Any]:
        """Arrange the ions at random on the sites of a structure cut from the crystal, with the same compensation."""
        if not self._is_random:
            return {}
        roles = np.array([ROLES[symbol] for symbol in atoms.symbols])
        counts = {}
        for role, occupation in self._sites.items():
            check_composition(occupation, int(np.sum(roles == role)), self.settings.composition_tolerance)
            counts[role] = nearest_counts(occupation, int(np.sum(roles == role)))
        plan = _Plan(atoms.copy(), roles, (1, 1, 1), self._chemistry.assign(counts))
        return self._arrange(atoms, plan, rng)

    @cached_property
    def _ideal_states(self) -> States:
        """The states of the composition in `sites`, in a crystal that is large enough for its fractions."""
        _, roles = self._unit_cell()
        n_cells = CELLS_OF_IDEAL_CRYSTAL if self._chemistry.is_mixed else 1
        counts = {}
        for role, occupation in self._sites.items():
            found = nearest_counts(occupation, n_cells * int(np.sum(roles == role)))
            counts[role] = {symbol: max(1, number) for symbol, number in found.items()}
        states = self._chemistry.guess(counts)
        return {s: {q: n // gcd(*found.values()) for q, n in found.items()} for s, found in states.items()}

    def _make_plan(self, requirements: Requirements) -> _Plan:
        settings = self.settings
        unit, unit_roles = self._unit_cell()
        scale = settings.a_A or self._lattice_constant(unit, unit_roles)
        unit.set_cell(unit.cell.array * scale, scale_atoms=True)
        sites_per_cell = {role: int(np.sum(unit_roles == role)) for role in self._sites}
        mixed = max(self._sites, key=lambda role: len(self._sites[role]))

        def counts_in(n_cells: int) -> Counts:
            return {role: nearest_counts(found, sites_per_cell[role] * n_cells) for role, found in self._sites.items()}

        repeats = given_repeats(len(unit), settings.supercell) or choose_repeats(
            unit, self._sites[mixed], requirements,
            n_atoms=settings.n_atoms, tolerance=settings.composition_tolerance, sites_per_cell=sites_per_cell[mixed],
            suits=lambda n_cells: self._chemistry.can_be_neutral(counts_in(n_cells)),
        )  # fmt: skip
        n_cells = int(np.prod(repeats))
        for role, occupation in self._sites.items():
            check_composition(occupation, sites_per_cell[role] * n_cells, settings.composition_tolerance)
        ions = self._chemistry.assign(counts_in(n_cells))
        return _Plan(unit.repeat(repeats), np.tile(unit_roles, n_cells), repeats, ions)

    def _lattice_constant(self, unit: Atoms, roles: np.ndarray) -> float:
        """Return the lattice constant in Å for which the mean cation–anion distance is the sum of the radii.

        If Shannon does not list one of the ions, such as As³⁻, all radii are covalent radii.
        """
        from ase.data import atomic_numbers, covalent_radii

        coordination = PROTOTYPES[self.settings.prototype].coordination
        lengths = bond_lengths(unit, roles, coordination)
        ionic: dict[str, float] | None = dict.fromkeys(self._sites, 0.0)
        covalent = dict.fromkeys(self._sites, 0.0)
        for role, occupation in self._sites.items():
            for symbol, fraction in occupation.items():
                covalent[role] += fraction * float(covalent_radii[atomic_numbers[symbol]])
                by_state = self._ideal_states[symbol]
                for state, number in by_state.items():
                    radius = ionic_radius(symbol, state, coordination[role])
                    if radius is None or ionic is None:
                        ionic = None
                    else:
                        ionic[role] += fraction * number / sum(by_state.values()) * radius
        radii = ionic or covalent
        weights = {role: float(np.sum(roles == role)) * coordination[role] for role in lengths}
        target = sum(weights[role] * (radii[role] + radii['X']) for role in lengths)
        return target / sum(weights[role] * lengths[role] for role in lengths)

    def _schottky(self, atoms: Atoms, roles: np.ndarray, removed: set[int], rng: np.random.Generator) -> list[int]:
        """Return the indices of the atoms of random neutral formula units."""
        if not self.settings.schottky:
            return []
        unit_roles = self._unit_cell()[1]
        per_role = {role: int(np.sum(unit_roles == role)) for role in self._sites}
        divisor = int(np.gcd.reduce(list(per_role.values())))
        charges = atoms.get_initial_charges()
        free = np.array([i not in removed for i in range(len(atoms))])
        for _ in range(100):
            chosen = [
                int(site)
                for role, number in per_role.items()
                for site in rng.choice(
                    np.flatnonzero(free & (roles == role)), number // divisor * self.settings.schottky, replace=False
                )
            ]
            if abs(charges[chosen].sum()) < 1e-6:
                return chosen
        raise PhysicsViolationError(
            'formal_charge', (), float(charges[chosen].sum()), 0.0,
            f'no neutral set of {counted(self.settings.schottky, "formula unit")} was found',
        )  # fmt: skip


def _move_to_voids(atoms: Atoms, symbol: str, count: int, voids: np.ndarray, rng: np.random.Generator) -> None:
    """Move random ions of an element to random voids."""
    sites = np.flatnonzero(atoms.symbols == symbol)
    if count > min(len(sites), len(voids)):
        raise AutopipeError(
            Code.TOO_MANY_DEFECTS,
            f'the crystal has no room for {counted(count, "Frenkel pair")} of {symbol}: it has '
            f'{counted(len(sites), "ion")} of this element and {counted(len(voids), "void")}',
        )
    chosen = rng.choice(sites, count, replace=False)
    atoms.positions[chosen] = voids[rng.choice(len(voids), count, replace=False)]


VARIANT = IonicGenerator
