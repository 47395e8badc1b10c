"""Ion conductors: a framework, and mobile ions on partially occupied sites that balance its charge."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.generation.base import Generator, GeneratorSettings, Parent, Requirements
from aiida_mlip_autopipe.generation.chemistry.elements import Element, Occupation, nearest_counts
from aiida_mlip_autopipe.generation.chemistry.oxidation import ionic_radius
from aiida_mlip_autopipe.generation.chemistry.states import possible_states
from aiida_mlip_autopipe.generation.crystals.conductors import ANION_ROLES, CONDUCTORS, conductor_cell
from aiida_mlip_autopipe.generation.crystals.partial_sites import Ion, OrderingSettings, PartialSites
from aiida_mlip_autopipe.generation.crystals.prototypes import bond_lengths
from aiida_mlip_autopipe.generation.crystals.supercells import Repeats, check_composition, choose_repeats, given_repeats
from aiida_mlip_autopipe.generation.validation import CHARGE_TOLERANCE

N_SEEDS = 10


class IonConductorSettings(GeneratorSettings):
    """An ion conductor."""

    kind: Literal['ion_conductor'] = 'ion_conductor'
    """Ion conductor."""
    prototype: Literal['garnet', 'NASICON', 'argyrodite']
    """The structure type."""
    sites: dict[Literal['M', 'A', 'B', 'T', 'X', 'Y', 'Z'], Occupation]
    """The mobile element M, and elements on the sites of the framework: one element, or a composition. Examples are
    {M: Li, A: La, B: {Zr: 0.75, Ta: 0.25}, X: O} for garnet, {M: Na, B: Zr, T: {Si: 0.667, P: 0.333}, X: O} for NASICON
    and {M: Li, T: P, X: S, Y: S, Z: Cl} for argyrodite. The number of mobile ions follows from the charges."""
    oxidation_states: dict[Element, int] = Field(default_factory=dict)
    """Oxidation state of an element; by default its most common one."""
    ordering: OrderingSettings = OrderingSettings()
    """How the mobile ions are distributed."""
    a_A: PositiveFloat | None = None
    """Lattice constant a of the conventional cell in Å; by default from Shannon's ionic radii of the framework."""
    supercell: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    """Number of repeats along each vector of the conventional cell."""
    n_atoms: PositiveInt | None = None
    """Approximate number of atoms of the framework, instead of `supercell`."""
    composition_tolerance: float = Field(default=0.02, gt=0, le=0.5)
    """Maximum deviation of a fraction on a site of the framework from that in `sites`."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        roles = {'M', *(role for role, _ in CONDUCTORS[self.prototype].framework.sites)}
        if set(self.sites) != roles:
            raise fault(Code.SITES_MISMATCH, f'{self.prototype} has the sites {", ".join(sorted(roles))}')
        if len(self.sites['M']) > 1:
            raise fault(Code.SITES_MISMATCH, f'M must be one element, not {", ".join(self.sites["M"])}')
        if self.supercell and self.n_atoms:
            raise fault(Code.VALUES_EXCLUDE, 'set supercell or n_atoms, not both')
        for symbol in self.oxidation_states:
            if symbol not in self.elements():
                known = ', '.join(sorted(self.elements()))
                raise fault(
                    Code.KEY_UNKNOWN, f'oxidation_states: {symbol} is not on the sites; their elements are {known}'
                )
        return self

    def elements(self) -> frozenset[str]:
        """Return the elements on all sites."""
        return frozenset(symbol for occupation in self.sites.values() for symbol in occupation)


@dataclass
class _Plan:
    """The cell and the numbers of ions in it, which are the same in all seeds."""

    framework: Atoms
    roles: np.ndarray
    counts: dict[str, dict[str, int]]
    repeats: Repeats
    partial: PartialSites
    n_mobile: int


class IonConductorGenerator(Generator):
    """Makes ion conductors with ordered arrangements of the mobile ions."""

    settings_class = IonConductorSettings
    settings: IonConductorSettings

    def __init__(self, settings: IonConductorSettings):
        super().__init__(settings)
        sites: dict[str, dict[str, float]] = {str(role): fractions for role, fractions in settings.sites.items()}
        (self._mobile,) = sites.pop('M')
        self._sites = sites
        self._plans: dict[Requirements, _Plan] = {}

    def default_n_seeds(self) -> int:
        """Return the number of seeds: ten arrangements, with all variants of each."""
        return N_SEEDS * self.settings.perturb.variants

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return the framework, randomly occupied, with the mobile ions in the best of several orderings."""
        if requirements not in self._plans:
            self._plans[requirements] = self._make_plan(requirements)
        plan = self._plans[requirements]
        atoms = plan.framework.copy()
        for role, counts in plan.counts.items():
            symbols = np.repeat(list(counts), list(counts.values()))
            atoms.symbols[plan.roles == role] = (rng.permutation(symbols) if len(counts) > 1 else symbols).tolist()
        charges = np.array([float(self._states[symbol]) for symbol in atoms.symbols])
        charge = float(self._states[self._mobile])
        ordering = plan.partial.order(
            charges, [Ion(self._mobile, charge, 0, plan.n_mobile)], self.settings.ordering.n_orderings, rng
        )
        places = plan.partial.positions[ordering.occupants == 0]
        atoms += Atoms([self._mobile] * plan.n_mobile, places)
        atoms.set_initial_charges([*charges, *[charge] * plan.n_mobile])
        record = {
            'prototype': self.settings.prototype,
            'a_A': float(plan.framework.cell.lengths()[0] / plan.repeats[0]),
            'supercell': list(plan.repeats),
            'composition': {**plan.counts, 'M': {self._mobile: plan.n_mobile}},
            'oxidation_states': self._states,
            'occupancy': plan.n_mobile / len(ordering.occupants),
            **ordering.record(),
        }
        return Parent(atoms, record, repeatable=(False, False, False))

    @cached_property
    def _states(self) -> dict[str, int]:
        """The oxidation state of each element."""
        elements = self.settings.elements()
        states = {}
        for role, occupation in {'M': {self._mobile: 1.0}, **self._sites}.items():
            sign = -1 if role in ANION_ROLES else 1
            for symbol in occupation:
                possible = {s: cost for s, cost in possible_states(symbol, elements).items() if s * sign > 0}
                given = self.settings.oxidation_states.get(symbol)
                if given is None and not possible:
                    name = 'negative' if sign < 0 else 'positive'
                    raise AutopipeError(
                        Code.VALUE_MISSING, f'no {name} oxidation state of {symbol} is known; set oxidation_states'
                    )
                states[symbol] = min(possible, key=lambda state: possible[state]) if given is None else given
        return states

    def _counts(self, n_cells: int) -> dict[str, dict[str, int]]:
        """Return the number of atoms of the framework by site and element."""
        _, roles, _ = conductor_cell(self.settings.prototype)
        return {r: nearest_counts(found, n_cells * int(np.sum(roles == r))) for r, found in self._sites.items()}

    def _n_mobile(self, n_cells: int) -> float:
        """Return the number of mobile ions that balance the framework; it may be negative or not an integer."""
        counts = self._counts(n_cells).values()
        charge = sum(self._states[symbol] * number for found in counts for symbol, number in found.items())
        return -charge / self._states[self._mobile]

    def _is_balanced(self, n_cells: int) -> bool:
        return abs(self._n_mobile(n_cells) - round(self._n_mobile(n_cells))) < CHARGE_TOLERANCE

    def _make_plan(self, requirements: Requirements) -> _Plan:
        settings = self.settings
        framework, unit_roles, mobile = conductor_cell(settings.prototype)
        a_A = settings.a_A or self._lattice_constant(framework, unit_roles)
        framework.set_cell(framework.cell.array * a_A, scale_atoms=True)
        mixed = max(self._sites, key=lambda role: len(self._sites[role]))
        # The mobile ions count towards max_atoms.
        share = len(framework) / (len(framework) + max(0.0, self._n_mobile(1)))
        limited = Requirements(requirements.min_width_A, int(requirements.max_atoms * share))
        repeats = given_repeats(len(framework) / share, settings.supercell) or choose_repeats(
            framework, self._sites[mixed], limited, n_atoms=settings.n_atoms, suits=self._is_balanced,
            tolerance=settings.composition_tolerance, sites_per_cell=int(np.sum(unit_roles == mixed)),
        )  # fmt: skip
        n_cells = int(np.prod(repeats))
        for role, occupation in self._sites.items():
            n_sites = n_cells * int(np.sum(unit_roles == role))
            check_composition(occupation, n_sites, settings.composition_tolerance)
        n_mobile, n_sites = self._n_mobile(n_cells), n_cells * len(mobile)
        if not self._is_balanced(n_cells) or not 0 < n_mobile <= n_sites:
            states = ' '.join(f'{symbol}{state:+d}' for symbol, state in self._states.items())
            raise AutopipeError(
                Code.CHARGE_UNBALANCED,
                f'the framework of {settings.prototype} with {states} needs {n_mobile:g} {self._mobile} on {n_sites} '
                'sites; set oxidation_states, or use other elements or another supercell',
            )
        whole = framework.repeat(repeats)
        sites = Atoms('H' * len(mobile), mobile @ framework.cell.array, cell=framework.cell, pbc=True).repeat(repeats)
        given = settings.ordering.exclusion_A
        limit = CONDUCTORS[settings.prototype].exclusion_A if given is None else given
        partial = PartialSites(whole, sites.positions, np.zeros(n_sites, dtype=int), lambda one, other: limit)
        return _Plan(whole, np.tile(unit_roles, n_cells), self._counts(n_cells), repeats, partial, round(n_mobile))

    def _lattice_constant(self, unit: Atoms, roles: np.ndarray) -> float:
        """Return the lattice constant in Å for which the mean cation–X distance is the sum of Shannon's radii."""
        coordination = CONDUCTORS[self.settings.prototype].framework.coordination
        bonded = np.isin(roles, list(coordination))
        lengths = bond_lengths(unit[bonded], roles[bonded], coordination)
        radii = {}
        for role, number in coordination.items():
            radii[role] = 0.0
            for symbol, fraction in self._sites[role].items():
                radius = ionic_radius(symbol, self._states[symbol], number)
                if radius is None:
                    raise AutopipeError(
                        Code.VALUE_MISSING, f'the radius of {symbol}{self._states[symbol]:+d} is unknown; set a_A'
                    )
                radii[role] += fraction * radius
        weights = {role: float(np.sum(roles == role)) * coordination[role] for role in lengths}
        target = sum(weights[role] * (radii[role] + radii['X']) for role in lengths)
        return target / sum(weights[role] * lengths[role] for role in lengths)


VARIANT = IonConductorGenerator
