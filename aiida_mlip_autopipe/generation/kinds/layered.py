"""Layered crystals: dichalcogenides, honeycombs, black phosphorus and MXenes, as stacks in vacuum or in bulk."""

from __future__ import annotations

from functools import cached_property
from math import gcd
from typing import Annotated, Any, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.generation.base import Generator, GeneratorSettings, Parent, Requirements
from aiida_mlip_autopipe.generation.chemistry.elements import Occupation, check_fractions
from aiida_mlip_autopipe.generation.crystals.layers import (
    DEFAULT_STACKINGS,
    DICHALCOGENIDES,
    MXENES,
    RECTANGULAR,
    STACKINGS,
    Layer,
    Sizes,
    Stacking,
    Structure,
    assemble,
    contact_distance,
    make_layer,
    stack,
    twisted_bilayer,
)
from aiida_mlip_autopipe.generation.crystals.supercells import Repeats, choose_repeats, draw_occupants, given_repeats
from aiida_mlip_autopipe.generation.limits import check_size

N_RANDOM_SEEDS = 10
VACUUM_A = 15.0
Termination = Literal['O', 'F', 'Cl', 'OH']
Terminations = Annotated[
    dict[Termination, float],
    BeforeValidator(lambda value: {value: 1.0} if isinstance(value, str) else value),
    AfterValidator(check_fractions),
]


class LayeredSettings(GeneratorSettings):
    """A layered crystal."""

    kind: Literal['layered'] = 'layered'
    """Layered crystal."""
    structure: Structure
    """The structure of a layer: trigonal prisms (`2H`, `3R`), octahedra (`1T`) or distorted octahedra (`1T'`) of a
    dichalcogenide, a flat `honeycomb`, puckered `black_phosphorus`, or an MXene (`M2X`, `M3X2`, `M4X3`)."""
    sites: dict[Literal['M', 'X', 'A', 'B'], Occupation]
    """Elements on the sites: {M: Mo, X: S} for a dichalcogenide, {M: Ti, X: C} for an MXene, {A: C} or {A: B, B: N} for
    a honeycomb, {A: P} for black phosphorus; or a composition for each site, such as {M: {Mo: 0.5, W: 0.5}, X: S}."""
    terminations: Terminations | None = None
    """Terminations of both faces of an MXene: one of O, F, Cl and OH, or fractions, such as {O: 0.5, OH: 0.5}."""
    a_A: PositiveFloat | None = None
    """In-plane lattice constant in Å: along the chains of metal atoms in 1T', and along the zigzag direction in black
    phosphorus."""
    bond_A: PositiveFloat | None = None
    """Mean bond length in a layer in Å; by default the sum of the single-bond covalent radii."""
    thickness_A: PositiveFloat | None = None
    """Distance in Å between the two planes of X in a layer of 2H, 3R or 1T."""
    n_layers: PositiveInt | None = None
    """Number of layers in vacuum; 1 by default."""
    bulk: bool = False
    """Make a bulk crystal with one period of the stacking, instead of layers in vacuum."""
    stacking: Stacking | None = None
    """Registry of the layers: without a shift (AA), with the next layer rotated by 180° (AA'), shifted by a third of
    the long diagonal (AB, ABC), or both (AB'). The default is AA' for 2H, ABC for 3R, AB for black phosphorus
    and honeycombs of one element, AA' for other honeycombs, and AA otherwise. Rectangular layers allow AA and AB."""
    twist: tuple[PositiveInt, PositiveInt] | None = None
    """Indices of a commensurate twisted bilayer: [1, 2] is 21.8°, [2, 3] is 13.2°, [6, 7] is 5.1°."""
    interlayer_A: PositiveFloat | None = None
    """Distance in Å between the mid-planes of adjacent layers; by default that at which van der Waals spheres touch."""
    vacuum_A: float | None = Field(default=None, ge=5)
    """Thickness of the vacuum in Å; 15 by default."""
    supercell: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    """Number of repeats along each vector of the unit cell; the third is 1 in vacuum."""
    n_atoms: PositiveInt | None = None
    """Approximate number of atoms, instead of `supercell`."""
    composition_tolerance: float = Field(default=0.02, gt=0, le=0.5)
    """Maximum deviation of a fraction on a site from that in `sites`."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        self._check_sites()
        for name, other in (
            ('supercell', 'n_atoms'),
            ('bulk', 'n_layers'),
            ('bulk', 'vacuum_A'),
            ('twist', 'stacking'),
        ):
            if getattr(self, name) and getattr(self, other):
                raise fault(Code.VALUES_EXCLUDE, f'set {name} or {other}, not both')
        if self.a_A and self.bond_A and (self.thickness_A or self.structure in ('honeycomb', *RECTANGULAR)):
            raise fault(Code.VALUES_EXCLUDE, 'the dimensions of the layer are overdetermined; remove a_A or bond_A')
        if self.thickness_A and self.structure not in DICHALCOGENIDES:
            raise fault(Code.VALUES_EXCLUDE, f'thickness_A applies to 2H, 3R and 1T, not to {self.structure}')
        if self.twist:
            if self.n_layers != 2 or self.structure in RECTANGULAR:
                raise fault(Code.VALUES_INCOMPLETE, 'twist needs n_layers: 2 and a hexagonal structure')
            if gcd(*self.twist) > 1 or self.twist[0] >= self.twist[1]:
                raise fault(Code.VALUE_INVALID, 'twist must be two coprime numbers in ascending order, such as [1, 2]')
        elif not self.bulk and (self.n_layers or 1) == 1 and (self.stacking or self.interlayer_A):
            name = 'stacking' if self.stacking else 'interlayer_A'
            raise fault(Code.VALUES_EXCLUDE, f'{name} does not apply to a single layer; set n_layers or bulk')
        if self.stacking and self.structure in RECTANGULAR and self.stacking not in ('AA', 'AB'):
            raise fault(Code.VALUES_EXCLUDE, f'{self.structure} allows the stackings AA and AB, not {self.stacking}')
        if self.supercell and self.supercell[2] > 1 and not self.bulk:
            raise fault(Code.OUT_OF_RANGE, 'the third number of supercell must be 1 in vacuum; use n_layers')
        return self

    def _check_sites(self) -> None:
        required = {'honeycomb': {'A'}, 'black_phosphorus': {'A'}}.get(self.structure, {'M', 'X'})
        allowed = required | ({'B'} if self.structure == 'honeycomb' else set())
        if not required <= set(self.sites) <= allowed:
            sites = f'site{"s" if len(allowed) > 1 else ""} {" and ".join(sorted(allowed))}'
            raise fault(Code.SITES_MISMATCH, f'{self.structure} has the {sites}')
        if self.terminations and self.structure not in MXENES:
            raise fault(Code.VALUES_EXCLUDE, f'terminations apply to MXenes, not to {self.structure}')

    def elements(self) -> frozenset[str]:
        """Return the elements on all sites and of the terminations."""
        return frozenset(symbol for fractions in self.occupation.values() for symbol in fractions)

    @property
    def occupation(self) -> dict[str, dict[str, float]]:
        """The elements of each role, with the terminations T and the hydrogen atoms H of hydroxyl groups."""
        found: dict[str, dict[str, float]] = {str(role): fractions for role, fractions in self.sites.items()}
        if self.terminations:
            elements: dict[str, float] = {}
            for name, fraction in self.terminations.items():
                elements[name[:1] if name == 'OH' else name] = elements.get(name[:1], 0.0) + fraction
            found['T'] = elements
            if 'OH' in self.terminations:
                found['H'] = {'H': 1.0}
        return found

    @property
    def occupants(self) -> dict[str, dict[str, float]]:
        """What occupies each role: elements, and the terminations by their names."""
        terminations = {str(name): fraction for name, fraction in (self.terminations or {}).items()}
        return {**self.occupation, **({'T': terminations} if terminations else {})}


class LayeredGenerator(Generator):
    """Makes stacks of layers with one element or a random arrangement on each site."""

    settings_class = LayeredSettings
    settings: LayeredSettings

    @property
    def _is_random(self) -> bool:
        return any(len(fractions) > 1 for fractions in self.settings.occupants.values())

    def n_parents(self) -> int | None:
        """Return 1 if each site has one element, and None for random arrangements."""
        return None if self._is_random else 1

    def default_n_seeds(self) -> int:
        """Return the number of seeds: ten for random arrangements, or one if each site has one element."""
        return N_RANDOM_SEEDS * self.settings.perturb.variants if self._is_random else super().default_n_seeds()

    @cached_property
    def _layer(self) -> Layer:
        settings = self.settings
        sizes = Sizes(settings.a_A, settings.bond_A, settings.thickness_A)
        return make_layer(settings.structure, settings.occupation, sizes)

    @cached_property
    def _layers(self) -> list[Layer]:
        settings = self.settings
        n_atoms = len(self._layer.roles)
        if settings.twist:
            m, n = settings.twist
            check_size(2 * n_atoms * (m * m + m * n + n * n), f'twist {[m, n]}')
            return twisted_bilayer(self._layer, settings.twist)
        n_layers = len(STACKINGS[self._stacking]) if settings.bulk else settings.n_layers or 1
        check_size(n_layers * n_atoms, f'n_layers {n_layers}')
        return stack(self._layer, self._stacking, n_layers)

    @property
    def _stacking(self) -> Stacking:
        settings = self.settings
        if settings.stacking:
            return settings.stacking
        return "AA'" if 'B' in settings.sites else DEFAULT_STACKINGS[settings.structure]

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return the stack with the elements arranged on its sites."""
        settings, layers = self.settings, self._layers
        distance_A = settings.interlayer_A or contact_distance(layers, settings.occupation, bulk=settings.bulk)
        vacuum_A = None if settings.bulk else settings.vacuum_A or VACUUM_A
        cell, roles = assemble(layers, distance_A, vacuum_A)
        axes = (True, True, settings.bulk)
        repeats = given_repeats(len(cell), settings.supercell) or self._repeats(cell, roles, requirements, axes)
        atoms = self._occupy(cell.repeat(repeats), np.tile(roles, int(np.prod(repeats))), rng)
        record: dict[str, Any] = {
            'structure': settings.structure,
            'a_A': float(np.linalg.norm(self._layer.cell[0])),
            'bond_A': self._layer.bond_A,
            'supercell': list(repeats),
            'composition': {s: n / len(atoms) for s, n in sorted(atoms.symbols.formula.count().items())},
        }
        if settings.twist:
            m, n = settings.twist
            cosine = (n * n + 4 * n * m + m * m) / (2 * (n * n + n * m + m * m))
            record |= {'twist': [m, n], 'angle_deg': float(np.degrees(np.arccos(cosine)))}
        elif settings.bulk or len(layers) > 1:
            record['stacking'] = self._stacking
        if settings.bulk or len(layers) > 1:
            record['interlayer_A'] = distance_A
        if settings.bulk:
            return Parent(atoms, record, repeatable=(False, False, False))
        record['n_layers'] = len(layers)
        return Parent(atoms, record, deformable=axes, repeatable=(False, False, False), form='slab')

    def _repeats(
        self, cell: Atoms, roles: np.ndarray, requirements: Requirements, axes: tuple[bool, bool, bool]
    ) -> Repeats:
        settings = self.settings
        role = max(settings.occupants, key=lambda one: len(settings.occupants[one]))
        return choose_repeats(
            cell, settings.occupants[role], requirements,
            n_atoms=settings.n_atoms, tolerance=settings.composition_tolerance,
            sites_per_cell=int(np.sum(roles == role)), axes=axes,
        )  # fmt: skip

    def _occupy(self, atoms: Atoms, roles: np.ndarray, rng: np.random.Generator) -> Atoms:
        """Arrange elements and terminations on their sites at random. Only hydroxyl groups keep their hydrogen."""
        names = draw_occupants(roles, self.settings.occupants, self.settings.composition_tolerance, rng)
        # The hydrogen atom of a hydroxyl group follows its oxygen atom.
        without = (roles == 'H') & (np.roll(names, 1) != 'OH')
        atoms.set_chemical_symbols(['O' if name == 'OH' else name for name in names.tolist()])
        return atoms[~without]


VARIANT = LayeredGenerator
