"""Intermetallic compounds and MAX phases: elements on the sites of a structure type."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.generation.base import Generator, GeneratorSettings, Parent, Requirements
from aiida_mlip_autopipe.generation.chemistry.elements import Occupation, nearest_counts
from aiida_mlip_autopipe.generation.crystals.intermetallics import INTERMETALLICS, estimate_lattice_constant
from aiida_mlip_autopipe.generation.crystals.prototypes import ROLES, build_cell
from aiida_mlip_autopipe.generation.crystals.supercells import check_composition, choose_repeats, given_repeats

N_RANDOM_SEEDS = 10


class IntermetallicSettings(GeneratorSettings):
    """An intermetallic compound."""

    kind: Literal['intermetallic'] = 'intermetallic'
    """Intermetallic compound."""
    prototype: Literal['A15', 'C14', 'C15', 'C36', 'L2_1', 'C1_b', 'sigma', 'M2AX', 'M3AX2', 'M4AX3']
    """The structure type."""
    sites: dict[Literal['A', 'B', 'C', 'D', 'E', 'M', 'X'], Occupation]
    """Elements on the sites: one element, or a composition, such as {A: Zr, B: {Cr: 0.5, Fe: 0.5}}. The Laves phases
    (C14, C15, C36) and A15 have A and B, the Heusler phases (L2_1, C1_b) A, B and C, sigma A to E, and the MAX phases
    M, A and X."""
    a_A: PositiveFloat | None = None
    """Lattice constant a of the conventional cell in Å; by default from the atomic volumes of the elements."""
    c_over_a: PositiveFloat | None = None
    """c/a ratio of a hexagonal or tetragonal structure type; by default that of the compound it is named after."""
    supercell: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    """Number of repeats along each vector of the conventional cell."""
    n_atoms: PositiveInt | None = None
    """Approximate number of atoms, instead of `supercell`."""
    composition_tolerance: float = Field(default=0.02, gt=0, le=0.5)
    """Maximum deviation of a fraction on a site from that in `sites`."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        prototype = INTERMETALLICS[self.prototype]
        roles = {role for role, _ in prototype.sites}
        if set(self.sites) != roles:
            raise fault(Code.SITES_MISMATCH, f'{self.prototype} has the sites {", ".join(sorted(roles))}')
        if self.supercell and self.n_atoms:
            raise fault(Code.VALUES_EXCLUDE, 'set supercell or n_atoms, not both')
        if self.c_over_a and prototype.c_over_a == 1:
            raise fault(Code.VALUES_EXCLUDE, f'c_over_a does not apply to {self.prototype}, which is cubic')
        return self

    def elements(self) -> frozenset[str]:
        """Return the elements on all sites."""
        return frozenset(symbol for occupation in self.sites.values() for symbol in occupation)


class IntermetallicGenerator(Generator):
    """Makes ordered and partially disordered compounds."""

    settings_class = IntermetallicSettings
    settings: IntermetallicSettings

    def __init__(self, settings: IntermetallicSettings):
        super().__init__(settings)
        self._sites: dict[str, dict[str, float]] = {str(role): fractions for role, fractions in settings.sites.items()}
        self._templates: dict[Requirements, tuple[Atoms, np.ndarray, dict[str, Any]]] = {}

    @property
    def _is_random(self) -> bool:
        return any(len(occupation) > 1 for occupation in self._sites.values())

    def n_parents(self) -> int | None:
        """Return 1 for an ordered compound, and None if elements share a site."""
        return None if self._is_random else 1

    def default_n_seeds(self) -> int:
        """Return the number of seeds: ten for random arrangements, or one for an ordered compound."""
        return N_RANDOM_SEEDS * self.settings.perturb.variants if self._is_random else super().default_n_seeds()

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return the compound, with the elements that share a site arranged at random."""
        if requirements not in self._templates:
            self._templates[requirements] = self._make_template(requirements)
        template, roles, record = self._templates[requirements]
        atoms = template.copy()
        record = {**record, 'composition': self._arrange(atoms, roles, rng)}
        return Parent(atoms, record, repeatable=(False, False, False) if self._is_random else None)

    def draw_unit(self, index: int) -> Atoms:
        """Return the conventional cell; with placeholders on the sites if elements share one."""
        unit, roles = self._unit()
        if not self._is_random:
            self._arrange(unit, roles, np.random.default_rng(0))
        return unit

    def fill(self, atoms: Atoms, rng: np.random.Generator) -> dict[str, Any]:
        """Arrange the elements at random on the sites of a structure cut from the compound."""
        if not self._is_random:
            return {}
        roles = np.array([ROLES[symbol] for symbol in atoms.symbols])
        self._check_sites(roles)
        return {'composition': self._arrange(atoms, roles, rng)}

    def _unit(self) -> tuple[Atoms, np.ndarray]:
        """Return the conventional cell with placeholders, and the role of each atom."""
        settings = self.settings
        prototype = INTERMETALLICS[settings.prototype]
        if settings.c_over_a:
            prototype = replace(prototype, c_over_a=settings.c_over_a)
        unit, roles = build_cell(prototype)
        a_A = settings.a_A or estimate_lattice_constant(prototype, self._sites)
        unit.set_cell(unit.cell.array * a_A, scale_atoms=True)
        return unit, roles

    def _make_template(self, requirements: Requirements) -> tuple[Atoms, np.ndarray, dict[str, Any]]:
        """Return the supercell with placeholders, the role of each atom, and the record."""
        settings = self.settings
        unit, unit_roles = self._unit()
        mixed = max(self._sites, key=lambda role: len(self._sites[role]))
        repeats = given_repeats(len(unit), settings.supercell) or choose_repeats(
            unit, self._sites[mixed], requirements, n_atoms=settings.n_atoms,
            tolerance=settings.composition_tolerance, sites_per_cell=int(np.sum(unit_roles == mixed)),
        )  # fmt: skip
        roles = np.tile(unit_roles, int(np.prod(repeats)))
        self._check_sites(roles)
        lengths = unit.cell.lengths()
        record = {
            'prototype': settings.prototype,
            'a_A': float(lengths[0]),
            'c_over_a': float(lengths[2] / lengths[0]),
            'supercell': list(repeats),
        }
        return unit.repeat(repeats), roles, record

    def _check_sites(self, roles: np.ndarray) -> None:
        """Refuse numbers of sites on which the compositions are not possible."""
        for role, occupation in self._sites.items():
            check_composition(occupation, int(np.sum(roles == role)), self.settings.composition_tolerance)

    def _arrange(self, atoms: Atoms, roles: np.ndarray, rng: np.random.Generator) -> dict[str, dict[str, int]]:
        """Put the elements on their sites, in place, and return the number of atoms by site and element."""
        composition = {}
        for role, occupation in self._sites.items():
            counts = nearest_counts(occupation, int(np.sum(roles == role)))
            symbols = np.repeat(list(counts), list(counts.values()))
            atoms.symbols[roles == role] = (rng.permutation(symbols) if len(counts) > 1 else symbols).tolist()
            composition[role] = counts
        return composition


VARIANT = IntermetallicGenerator
