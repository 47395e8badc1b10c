"""Covalent networks: crystals, layers and stacks, scaled to a bond length."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.generation.base import Form, Generator, GeneratorSettings, Parent, Requirements
from aiida_mlip_autopipe.generation.chemistry.elements import Occupation
from aiida_mlip_autopipe.generation.chemistry.oxidation import ionic_radius, known_states
from aiida_mlip_autopipe.generation.crystals.supercells import Repeats, choose_repeats, draw_occupants, given_repeats
from aiida_mlip_autopipe.generation.limits import check_size
from aiida_mlip_autopipe.generation.nested import repeat_to_width

N_RANDOM_SEEDS = 10
LAYERED = ('graphene', 'graphite')
OXIDES = ('quartz', 'cristobalite')
# Free parameters: α-quartz from Levien, Prewitt, Weidner, Am. Mineral. 65, 920 (1980); α-cristobalite from Downs,
# Palmer, Am. Mineral. 79, 9 (1994). Space group, axial ratio, Si, O.
NETWORKS = {
    'quartz': (154, 1.0995, (0.4697, 0, 2 / 3), (0.4133, 0.2672, 0.7855), 120.0),
    'cristobalite': (92, 1.3923, (0.3003, 0.3003, 0), (0.2392, 0.1044, 0.1787), 90.0),
}
# Shift of each layer, in thirds of the long in-plane diagonal.
STACKINGS = {'AA': (0,), "AA'": (0, 0), 'AB': (0, 1), 'ABC': (0, 1, 2)}
SLAB_AXES = (True, True, False)
# Placeholders mark the sites while a surface is cut.
PLACEHOLDERS = {'A': 'Li', 'X': 'F'}


class CovalentSettings(GeneratorSettings):
    """A covalent network."""

    kind: Literal['covalent'] = 'covalent'
    """Covalent network."""
    structure: Literal['diamond', 'graphite', 'graphene', 'zincblende', 'wurtzite', 'quartz', 'cristobalite']
    """The network. `graphene` is a stack of `n_layers` sheets in vacuum."""
    sites: dict[Literal['A', 'X'], Occupation]
    """Elements on the sites: {A: Si} for an element, {A: Ga, X: As} for a compound, or a composition for each site,
    such as {A: {Si: 0.9, Ge: 0.1}}. In quartz and cristobalite, X is at the corners of the tetrahedra around A."""
    bond_A: PositiveFloat | None = None
    """Mean length of the A–X bonds in Å; by default the sum of the covalent radii, or of Shannon's ionic radii in
    quartz and cristobalite."""
    stacking: Literal['AA', "AA'", 'AB', 'ABC'] = 'AB'
    """Stacking of the layers in graphite and in graphene stacks. In AA', A and X are exchanged in every other layer, as
    in hexagonal boron nitride."""
    n_layers: PositiveInt = 1
    """Number of layers of a graphene stack."""
    interlayer_A: PositiveFloat = 3.35
    """Distance between layers in Å."""
    vacuum_A: float = Field(default=15.0, ge=5)
    """Thickness of the vacuum above a graphene stack in Å."""
    supercell: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    """Number of repeats along each vector of the unit cell."""
    n_atoms: PositiveInt | None = None
    """Approximate number of atoms, instead of `supercell`."""
    composition_tolerance: float = Field(default=0.02, gt=0, le=0.5)
    """Maximum deviation of a fraction on a site from that in `sites`."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if 'A' not in self.sites:
            raise fault(Code.SITES_MISMATCH, 'sites must contain A')
        if self.structure in (*OXIDES, 'zincblende', 'wurtzite') and 'X' not in self.sites:
            raise fault(Code.SITES_MISMATCH, f'{self.structure} has the sites A and X')
        if self.structure == 'diamond' and 'X' in self.sites:
            raise fault(Code.SITES_MISMATCH, 'diamond has only the site A; the structure with A and X is zincblende')
        if self.supercell and self.n_atoms:
            raise fault(Code.VALUES_EXCLUDE, 'set supercell or n_atoms, not both')
        return self

    def elements(self) -> frozenset[str]:
        """Return the elements on all sites."""
        return frozenset(symbol for fractions in self.sites.values() for symbol in fractions)

    @property
    def occupation(self) -> dict[str, dict[str, float]]:
        """The composition of A and of X; without X in `sites`, X has the composition of A."""
        return {'A': self.sites['A'], 'X': self.sites.get('X', self.sites['A'])}


class CovalentGenerator(Generator):
    """Covalent networks with one element or a random arrangement on each site."""

    settings_class = CovalentSettings
    settings: CovalentSettings

    @property
    def _is_random(self) -> bool:
        return any(len(fractions) > 1 for fractions in self.settings.sites.values())

    def n_parents(self) -> int | None:
        """Return 1 if each site has one element, and None for random arrangements."""
        return None if self._is_random else 1

    def default_n_seeds(self) -> int:
        """Return the number of seeds: ten for random arrangements, or one if each site has one element."""
        return N_RANDOM_SEEDS * self.settings.perturb.variants if self._is_random else super().default_n_seeds()

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return the network with the elements arranged on its sites."""
        settings = self.settings
        bond_A = settings.bond_A or bond_length(settings)
        cell, roles = network_cell(settings, bond_A)
        if 'X' not in settings.sites:
            roles = np.full(len(cell), 'A')  # both sublattices share the elements
        in_vacuum = settings.structure == 'graphene'
        axes = SLAB_AXES if in_vacuum else (True, True, True)
        repeats = self._repeats(cell, roles, requirements, axes)
        atoms, roles = cell.repeat(repeats), np.tile(roles, int(np.prod(repeats)))
        composition = self._arrange(atoms, roles, rng)
        record: dict[str, object] = {
            'structure': settings.structure,
            'bond_A': bond_A,
            'supercell': list(repeats),
            'composition': composition,
        }
        if settings.structure in LAYERED:
            record |= {'stacking': settings.stacking, 'interlayer_A': settings.interlayer_A}
        if in_vacuum:
            record['n_layers'] = settings.n_layers
        form: Form | None = 'slab' if in_vacuum else None
        return Parent(atoms, record, deformable=axes, repeatable=(False, False, False), form=form)

    def draw_unit(self, index: int) -> Atoms:
        """Return the unit cell; if the arrangement is random, with a placeholder on each site."""
        if not self._is_random:
            return super().draw_unit(index)
        cell, roles = network_cell(self.settings, self.settings.bond_A or bond_length(self.settings))
        cell.set_chemical_symbols([PLACEHOLDERS[role if 'X' in self.settings.sites else 'A'] for role in roles])
        return cell

    def fill(self, atoms: Atoms, rng: np.random.Generator) -> dict[str, object]:
        """Arrange the elements on the sites at random."""
        if not self._is_random:
            return {}
        return {'composition': self._arrange(atoms, np.where(atoms.symbols == PLACEHOLDERS['A'], 'A', 'X'), rng)}

    def _arrange(self, atoms: Atoms, roles: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
        """Arrange the elements on their sites at random, and return the composition."""
        names = draw_occupants(roles, self.settings.occupation, self.settings.composition_tolerance, rng)
        atoms.set_chemical_symbols(names.tolist())
        return {s: n / len(atoms) for s, n in sorted(atoms.symbols.formula.count().items())}

    def _repeats(
        self, cell: Atoms, roles: np.ndarray, requirements: Requirements, axes: tuple[bool, bool, bool]
    ) -> Repeats:
        settings = self.settings
        if found := given_repeats(len(cell), settings.supercell):
            return found
        if settings.n_atoms is None and axes != (True, True, True):
            # The vacuum is never repeated.
            first, second, _ = repeat_to_width(Parent(cell, repeatable=axes), requirements).record.get(
                'repeats', (1, 1, 1)
            )
            return first, second, 1
        present = [(role, fractions) for role, fractions in settings.occupation.items() if role in roles]
        mixed = max(present, key=lambda item: len(item[1]))
        return choose_repeats(
            cell, mixed[1], requirements,
            n_atoms=settings.n_atoms, tolerance=settings.composition_tolerance,
            sites_per_cell=int(np.sum(roles == mixed[0])), axes=axes,
        )  # fmt: skip


def bond_length(settings: CovalentSettings) -> float:
    """Return the sum of the radii of A and X in Å.

    The radii are covalent (B. Cordero et al., Dalton Trans. 2832, 2008). In quartz and cristobalite they are Shannon's
    ionic radii where known, since covalent radii overestimate these bonds (Si–O is 1.61 Å).
    """
    from ase.data import atomic_numbers, covalent_radii

    total = 0.0
    for role, fractions in settings.occupation.items():
        for symbol, fraction in fractions.items():
            radius = float(covalent_radii[atomic_numbers[symbol]])
            if settings.structure in OXIDES:
                sign, coordination = (1, 4) if role == 'A' else (-1, 2)
                states = known_states(symbol, sign, common=True)
                radius = (states and ionic_radius(symbol, max(states), coordination)) or radius
            total += fraction * radius
    return total


def network_cell(settings: CovalentSettings, bond_A: float) -> tuple[Atoms, np.ndarray]:
    """Return the unit cell of a network with the specified bond length, and the role of each atom, shape (n,)."""
    from ase.build import bulk
    from ase.spacegroup import crystal

    name = settings.structure
    if name in LAYERED:
        return _layers(settings, bond_A)
    if name in OXIDES:
        spacegroup, c_over_a, first, second, angle = NETWORKS[name]
        cell = crystal(['Si', 'O'], [first, second], spacegroup=spacegroup, cellpar=[5, 5, 5 * c_over_a, 90, 90, angle])
        roles = np.where(cell.symbols == 'Si', 'A', 'X')
        middle = cell.repeat(3)
        atom = 13 * len(cell) + int(np.flatnonzero(roles == 'A')[0])
        oxygen = middle.positions[middle.symbols == 'O']
        found = np.sort(np.linalg.norm(oxygen - middle.positions[atom], axis=1))[:4].mean()
        return Atoms(
            cell.symbols, scaled_positions=cell.get_scaled_positions(), cell=cell.cell.array * bond_A / found, pbc=True
        ), roles
    if name == 'wurtzite':
        a_A = bond_A * np.sqrt(8 / 3)
        cell = bulk('ZnO', 'wurtzite', a=a_A, c=a_A * np.sqrt(8 / 3), u=0.375)
        return cell, np.where(cell.symbols == 'Zn', 'A', 'X')
    cell = bulk('ZnS', 'zincblende', a=4 * bond_A / np.sqrt(3), cubic=True)
    return cell, np.where(cell.symbols == 'Zn', 'A', 'X')


def _layers(settings: CovalentSettings, bond_A: float) -> tuple[Atoms, np.ndarray]:
    """Return honeycomb layers: one period of the stacking for graphite, or `n_layers` in vacuum for graphene."""
    a_A = bond_A * np.sqrt(3)
    shifts = STACKINGS[settings.stacking]
    in_vacuum = settings.structure == 'graphene'
    n_layers = settings.n_layers if in_vacuum else len(shifts)
    spacing = settings.interlayer_A
    check_size(2 * n_layers, f'n_layers {n_layers}')
    height = (n_layers - 1) * spacing + settings.vacuum_A if in_vacuum else n_layers * spacing
    cell = np.array([[a_A, 0, 0], [-a_A / 2, a_A * np.sqrt(3) / 2, 0], [0, 0, height]])
    positions = [
        # The two sublattices are a third of the long diagonal apart, so one sublattice of a shifted layer is above the
        # other sublattice of the layer below.
        np.array([(third + shifts[layer % len(shifts)]) / 3, -(third + shifts[layer % len(shifts)]) / 3]) @ cell[:2]
        + [0, 0, layer * spacing + (settings.vacuum_A / 2 if in_vacuum else 0)]
        for layer in range(n_layers)
        for third in (0, 1)
    ]
    atoms = Atoms('C' * len(positions), positions=positions, cell=cell, pbc=True)
    atoms.wrap()
    swapped = settings.stacking == "AA'"
    return atoms, np.array([role for layer in range(n_layers) for role in ('XA' if swapped and layer % 2 else 'AX')])


VARIANT = CovalentGenerator
