"""Ionic crystals: ions on the sites of a structure type, with formal charges that sum to zero."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, PhysicsViolationError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.generation.base import Generator, GeneratorSettings, Parent, Requirements
from aiida_mlip_autopipe.generation.chemistry.compensation import Chemistry
from aiida_mlip_autopipe.generation.chemistry.elements import Composition, Element, nearest_counts
from aiida_mlip_autopipe.generation.chemistry.oxidation import States, ionic_radius
from aiida_mlip_autopipe.generation.crystals.prototypes import PROTOTYPES, ROLE_SYMBOLS, bond_lengths, prototype_cell
from aiida_mlip_autopipe.generation.crystals.supercells import (
    Repeats,
    check_composition,
    choose_repeats,
    describe_composition,
)
from aiida_mlip_autopipe.generation.geometry.voids import find_voids

N_RANDOM_SEEDS = 10

Occupation = Annotated[Composition, BeforeValidator(lambda value: {value: 1.0} if isinstance(value, str) else value)]
OxidationStates = Annotated[
    tuple[int, ...], BeforeValidator(lambda value: (value,) if isinstance(value, int) else value), Field(min_length=1)
]


class IonicSettings(GeneratorSettings):
    """An ionic crystal."""

    kind: Literal['ionic'] = 'ionic'
    """Ionic crystal."""
    prototype: Literal[
        'rocksalt', 'cesium_chloride', 'fluorite', 'antifluorite', 'zincblende', 'wurtzite', 'rutile', 'corundum',
        'perovskite', 'spinel',
    ]  # fmt: skip
    """The structure type."""
    sites: dict[Literal['A', 'B', 'X'], Occupation]
    """Elements on the cation sites A (and B in perovskite and spinel) and on the anion sites X: one element, or a
    composition, such as {A: {Zr: 0.9, Y: 0.1}, X: O}."""
    oxidation_states: dict[Element, OxidationStates] = Field(default_factory=dict)
    """Oxidation state of an element, or several for mixed valence; by default guessed from its common states."""
    compensation: Literal['vacancies', 'none'] = 'vacancies'
    """Compensation of a net formal charge: vacancies of the host's ions, or none. The net charge is recorded."""
    schottky: int = Field(default=0, ge=0)
    """Number of formula units to remove from random sites (Schottky defects)."""
    frenkel: dict[Element, PositiveInt] = Field(default_factory=dict)
    """Number of ions to move from random sites to the largest voids, by element (Frenkel pairs)."""
    a_A: PositiveFloat | None = None
    """Lattice constant in Å; by default from Shannon's ionic radii."""
    supercell: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    """Number of repeats along each vector of the conventional cell."""
    n_atoms: PositiveInt | None = None
    """Approximate number of atoms, instead of `supercell`."""
    composition_tolerance: float = Field(default=0.02, gt=0, le=0.5)
    """Maximum deviation of a fraction on a site from that in `sites`."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        roles = {role for role, _ in PROTOTYPES[self.prototype].sites}
        if set(self.sites) != roles:
            raise fault(Code.SITES_MISMATCH, f'{self.prototype} has the sites {", ".join(sorted(roles))}')
        if self.supercell and self.n_atoms:
            raise fault(Code.VALUES_EXCLUDE, 'set supercell or n_atoms, not both')
        elements = {symbol for occupation in self.sites.values() for symbol in occupation}
        for name in ('oxidation_states', 'frenkel'):
            for symbol in getattr(self, name):
                if symbol not in elements:
                    known = ', '.join(sorted(elements))
                    raise fault(Code.KEY_UNKNOWN, f'{name}: {symbol} is not on the sites; their elements are {known}')
        return self


@dataclass
class _Plan:
    """The cell and the numbers of ions in it, which are the same in all seeds."""

    cell: Atoms
    roles: np.ndarray
    repeats: Repeats
    counts: dict[str, dict[str, int]]
    states: States
    vacancies: dict[str, int] = field(default_factory=dict)

    @cached_property
    def voids(self) -> np.ndarray:
        """The largest voids of the perfect crystal."""
        return find_voids(self.cell)


class IonicGenerator(Generator):
    """Makes pure and mixed ionic crystals, with compensation of the charge."""

    settings_class = IonicSettings
    settings: IonicSettings

    def __init__(self, settings: IonicSettings):
        super().__init__(settings)
        self._sites: dict[str, dict[str, float]] = {str(role): fractions for role, fractions in settings.sites.items()}
        self._chemistry = Chemistry(settings.prototype, self._sites, settings.oxidation_states, settings.compensation)
        self._plans: dict[Requirements, _Plan] = {}

    @property
    def _is_random(self) -> bool:
        settings = self.settings
        mixed = any(len(occupation) > 1 for occupation in settings.sites.values())
        if mixed or settings.schottky or settings.frenkel:
            return True
        return any(len(states) > 1 for states in self._chemistry.guess(self._host_counts()).values())

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
            **self._arrange(atoms, plan, rng),
        }
        repeatable = (False, False, False) if self._is_random else None
        return Parent(atoms, record, repeatable=repeatable, charge_allowed=self.charge_allowed)

    def _arrange(self, atoms: Atoms, plan: _Plan, rng: np.random.Generator) -> dict[str, Any]:
        """Arrange the ions on their sites at random, make vacancies and defects, and return the record."""
        for role, counts in plan.counts.items():
            symbols = rng.permutation(np.repeat(list(counts), list(counts.values())))
            atoms.symbols[plan.roles == role] = symbols.tolist()
        charges = np.zeros(len(atoms))
        for symbol, by_state in plan.states.items():
            values = np.repeat(list(by_state), list(by_state.values()))
            charges[atoms.symbols == symbol] = rng.permutation(values)
        atoms.set_initial_charges(charges)
        removed = [
            int(site)
            for symbol, count in plan.vacancies.items()
            for site in rng.choice(np.flatnonzero(atoms.symbols == symbol), count, replace=False)
        ]
        removed += self._schottky(atoms, plan.roles, set(removed), rng)
        record: dict[str, Any] = {
            'composition': plan.counts,
            'oxidation_states': {s: {str(k): n for k, n in states.items()} for s, states in plan.states.items()},
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
    def charge_allowed(self) -> bool:
        """Whether the crystal may have a net charge."""
        return self.settings.compensation == 'none'

    def draw_unit(self, index: int) -> Atoms:
        """Return the conventional cell. In a mixed crystal, placeholders have the mean charge of their sites."""
        if not self._is_random:
            return super().draw_unit(index)
        plan = self._make_plan(Requirements())
        means = {}
        for role, counts in plan.counts.items():
            charges = {s: sum(state * n for state, n in plan.states[s].items()) for s in counts}
            fractions = {s: n / sum(plan.states[s].values()) / sum(counts.values()) for s, n in counts.items()}
            means[role] = sum(charges[s] * fractions[s] for s in counts)
        cell, roles = prototype_cell(self.settings.prototype)
        # The anions balance the charge that vacancies will compensate later, so that the cell is neutral.
        means['X'] = -sum(means[role] for role in roles if role != 'X') / int(np.sum(roles == 'X'))
        cell.set_cell(plan.cell.cell.array / np.array(plan.repeats)[:, None], scale_atoms=True)
        cell.set_initial_charges([means[role] for role in roles])
        return cell

    def fill(self, atoms: Atoms, rng: np.random.Generator) -> dict[str, Any]:
        """Arrange the ions at random on the sites of a structure cut from the crystal, with the same compensation."""
        if not self._is_random:
            return {}
        roles = np.array([next(r for r, s in ROLE_SYMBOLS.items() if s == symbol) for symbol in atoms.symbols])
        counts = {}
        for role, occupation in self._sites.items():
            check_composition(occupation, int(np.sum(roles == role)), self.settings.composition_tolerance)
            counts[role] = nearest_counts(occupation, int(np.sum(roles == role)))
        host = self._chemistry.guess(self._host_counts())
        states, vacancies = self._chemistry.compensate(counts, host)
        for role, found in counts.items():  # the compensation may have changed the numbers of ions
            fractions = {symbol: number / sum(found.values()) for symbol, number in found.items()}
            if max(abs(fractions[s] - x) for s, x in self._sites[role].items()) > self.settings.composition_tolerance:
                raise AutopipeError(
                    Code.COMPOSITION_IMPOSSIBLE,
                    f'{len(atoms)} sites cannot have {describe_composition(self._sites[role])} on {role} and be '
                    f'neutral; the nearest composition is {describe_composition(fractions)}; use a larger cell '
                    'or raise composition_tolerance',
                )
        return self._arrange(atoms, _Plan(atoms.copy(), roles, (1, 1, 1), counts, states, vacancies), rng)

    def _host_counts(self) -> dict[str, int]:
        """Return the number of atoms of the main element of each site in the unit cell."""
        _, roles = prototype_cell(self.settings.prototype)
        counts: dict[str, int] = {}
        for role, occupation in self.settings.sites.items():
            main = max(occupation, key=lambda symbol: occupation[symbol])
            counts[main] = counts.get(main, 0) + int(np.sum(roles == role))
        return counts

    def _make_plan(self, requirements: Requirements) -> _Plan:
        settings = self.settings
        host = self._chemistry.guess(self._host_counts())
        unit, unit_roles = prototype_cell(settings.prototype)
        scale = settings.a_A or self._lattice_constant(unit, unit_roles, host)
        unit.set_cell(unit.cell.array * scale, scale_atoms=True)
        sites_per_cell = {role: int(np.sum(unit_roles == role)) for role in self._sites}
        mixed = max(self._sites, key=lambda role: len(self._sites[role]))
        repeats = settings.supercell or choose_repeats(
            unit, self._sites[mixed], requirements,
            n_atoms=settings.n_atoms, tolerance=settings.composition_tolerance, sites_per_cell=sites_per_cell[mixed],
        )  # fmt: skip
        n_cells = int(np.prod(repeats))
        counts: dict[str, dict[str, int]] = {}
        for role, occupation in self._sites.items():
            n_sites = sites_per_cell[role] * n_cells
            check_composition(occupation, n_sites, settings.composition_tolerance)
            counts[role] = nearest_counts(occupation, n_sites)
        states, vacancies = self._chemistry.compensate(counts, host)
        return _Plan(unit.repeat(repeats), np.tile(unit_roles, n_cells), repeats, counts, states, vacancies)

    def _lattice_constant(self, unit: Atoms, roles: np.ndarray, host: States) -> float:
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
                by_state = host.get(symbol) or {self._chemistry.candidates(symbol, common=True)[0]: 1}
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
        unit_roles = prototype_cell(self.settings.prototype)[1]
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
            f'no neutral set of {self.settings.schottky} formula units was found',
        )  # fmt: skip


def _move_to_voids(atoms: Atoms, symbol: str, count: int, voids: np.ndarray, rng: np.random.Generator) -> None:
    """Move random ions of an element to random voids."""
    sites = np.flatnonzero(atoms.symbols == symbol)
    if count > min(len(sites), len(voids)):
        raise AutopipeError(
            Code.TOO_MANY_DEFECTS,
            f'{count} Frenkel pairs of {symbol} do not fit: there are {len(sites)} ions and {len(voids)} voids',
        )
    chosen = rng.choice(sites, count, replace=False)
    atoms.positions[chosen] = voids[rng.choice(len(voids), count, replace=False)]


VARIANT = IonicGenerator
