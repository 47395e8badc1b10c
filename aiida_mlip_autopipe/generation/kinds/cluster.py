"""Clusters and wires: Wulff particles, icosahedra, decahedra, octahedra, random clusters, free or on a support."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from itertools import product
from typing import Annotated, Any, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, PhysicsViolationError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.generation.base import GENERATORS, Generator, Parent, Requirements
from aiida_mlip_autopipe.generation.chemistry.elements import Composition
from aiida_mlip_autopipe.generation.kinds.surface import MillerIndex
from aiida_mlip_autopipe.generation.limits import check_size
from aiida_mlip_autopipe.generation.nested import ComposedGenerator, ComposedSettings
from aiida_mlip_autopipe.generation.particles.clusters import (
    FAMILIES,
    family_size,
    fcc_constant,
    grow,
    make_family,
    nearest_member,
    random_members,
)
from aiida_mlip_autopipe.generation.particles.core_shell import fill_shell, find_shell
from aiida_mlip_autopipe.generation.particles.wulff import Outline, along_z, cut, wire_period, wulff_outline
from aiida_mlip_autopipe.generation.supports import SupportSettings, place_on

N_RANDOM_SEEDS = 10
WIRE_VACUUM_A = 15.0
WIRE_AXES = (False, False, True)
# The shapes to which each setting applies.
ONLY_FOR = {
    'surface_energies': ('wulff', 'wire'),
    'axis': ('wire',),
    'vacuum_A': ('wire',),
    'n_shells': FAMILIES,
    'charged': ('wulff', 'wire'),
}


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, int | float) else value


class SurfaceEnergy(Settings):
    """Surface energy of a plane and of all equivalent planes."""

    miller: MillerIndex
    """Miller indices in the conventional cell, such as [1, 1, 1]."""
    energy_J_m2: PositiveFloat
    """Surface energy in J/m². Only the ratios of the energies matter."""


class ClusterSettings(ComposedSettings):
    """Clusters and wires of a crystal."""

    kind: Literal['cluster'] = 'cluster'
    """Clusters and wires of the crystal in `of`, which provides the elements, the lattice and the distances."""
    shape: Literal[
        'wulff', 'icosahedron', 'decahedron', 'octahedron', 'truncated_octahedron', 'cuboctahedron', 'random', 'wire',
    ]  # fmt: skip
    """The shape. Icosahedra, decahedra and the octahedral shapes need an fcc crystal."""
    n_atoms: Annotated[tuple[PositiveInt, ...], BeforeValidator(_as_list)] = ()
    """Number of atoms, or several numbers. The nearest complete cluster is made. For a wire, the number of atoms in one
    period."""
    diameter_A: Annotated[tuple[PositiveFloat, ...], BeforeValidator(_as_list)] = ()
    """Diameter in Å, instead of `n_atoms`: the cluster has as many atoms as a sphere of the crystal with this diameter,
    and a wire as many as a circle in its cross-section."""
    n_shells: Annotated[tuple[PositiveInt, ...], BeforeValidator(_as_list)] = ()
    """Number of shells around the centre, instead of `n_atoms`. For example, 1, 2 and 3 shells give icosahedra of
    13, 55 and 147 atoms."""
    surface_energies: tuple[SurfaceEnergy, ...] = ()
    """Surface energies, which determine the shape of a Wulff particle or, optionally, the cross-section of a wire.
    Wires without them are round."""
    axis: MillerIndex | None = None
    """Direction of a wire in the conventional cell, such as [1, 1, 0]."""
    vacuum_A: float | None = Field(default=None, ge=5)
    """Distance in Å between a wire and its images; 15 by default. Clusters are not periodic."""
    shell: Composition | None = None
    """Composition of the outer layers of a core–shell cluster; the core keeps that of `of`."""
    n_shell_layers: PositiveInt = 1
    """Number of atomic layers of the shell."""
    charged: bool = False
    """Allow clusters of an ionic crystal with a net formal charge."""
    support: SupportSettings | None = None
    """A slab that supports the cluster."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        sizes = [name for name in ('n_atoms', 'diameter_A', 'n_shells') if getattr(self, name)]
        if not sizes:
            raise fault(Code.VALUES_INCOMPLETE, 'set n_atoms, diameter_A or n_shells')
        if len(sizes) > 1:
            raise fault(Code.VALUES_EXCLUDE, f'set only one of {", ".join(sizes)}')
        for name, shapes in ONLY_FOR.items():
            if getattr(self, name) != type(self).model_fields[name].default and self.shape not in shapes:
                raise fault(
                    Code.VALUES_EXCLUDE, f'{name} applies to {", ".join(shapes)}, not to the shape {self.shape}'
                )
        if self.shape == 'wulff' and not self.surface_energies:
            raise fault(Code.VALUES_INCOMPLETE, 'the shape wulff needs surface_energies')
        if self.shape == 'wire' and self.axis is None:
            raise fault(Code.VALUES_INCOMPLETE, 'the shape wire needs axis')
        if self.shape == 'wire' and (self.support or self.shell):
            raise fault(Code.VALUES_EXCLUDE, f'{"support" if self.support else "shell"} does not apply to wires')
        if self.n_shell_layers > 1 and not self.shell:
            raise fault(Code.VALUES_INCOMPLETE, 'n_shell_layers needs shell')
        return self

    def stream_content(self) -> dict[str, Any]:
        """Return the content from which the random streams are derived, including that of the support."""
        content = super().stream_content()
        return {**content, 'support': self.support.stream_content()} if self.support else content

    def elements(self) -> frozenset[str]:
        """Return the elements of the crystal, of the shell and of the support."""
        return (
            super().elements() | {*(self.shell or ())} | (self.support.of.elements() if self.support else frozenset())
        )

    @property
    def sizes(self) -> tuple[float, ...]:
        """The sizes, in the unit in which they are set."""
        return self.n_atoms or self.diameter_A or self.n_shells


class ClusterGenerator(ComposedGenerator):
    """Makes a cluster of each size from each crystal."""

    settings_class = ClusterSettings
    settings: ClusterSettings

    def __init__(self, settings: ClusterSettings):
        super().__init__(settings)
        self._support: Generator | None = GENERATORS.make(settings.support.of) if settings.support else None
        self._shapes: dict[int, tuple[Atoms, int]] = {}

    @cached_property
    def _plan(self) -> list[tuple[int, float]]:
        """The crystal and the size of each parent."""
        return list(product(self.crystals(), self.settings.sizes))

    @property
    def _is_random(self) -> bool:
        settings = self.settings
        mixed = self.inner.n_units() is None or (settings.shell is not None and len(settings.shell) > 1)
        return mixed or settings.shape == 'random' or settings.support is not None

    def n_parents(self) -> int | None:
        """Return the number of crystals times the number of sizes, or None if anything is random."""
        return None if self._is_random else len(self._plan)

    def period(self) -> int:
        """Return the number of crystals times the number of sizes, which are used in turn."""
        return len(self._plan)

    def default_n_seeds(self) -> int:
        """Return the number of seeds: one for each crystal and size, or at least ten if anything is random."""
        return max(len(self._plan), N_RANDOM_SEEDS if self._is_random else 1) * self.settings.perturb.variants

    def notes(self) -> list[str]:
        """Return what the inner entries leave out, the sizes that are not possible, and facets that do not appear."""
        settings = self.settings
        found = super().notes() + (self._support.notes() if self._support else [])
        for number, (crystal, size) in enumerate(self._plan):
            if settings.shape == 'random':
                made, n_removed = self._n_random(number), 0
            else:
                made, n_removed = len(self._shape(number)[0]), self._shape(number)[1]
            if n_removed:
                found.append(
                    f'ions removed to make the shape {settings.shape} neutral: {n_removed}; atoms left: {made}'
                )
            elif settings.n_atoms and made != size:
                found.append(f'no complete {settings.shape} has {counted(int(size), "atom")}; the nearest has {made}')
            if settings.surface_energies and size == settings.sizes[0]:
                missing = self._outline(self._crystals[crystal]).missing_planes()
                found += [
                    f'the shape has no facet {" ".join(map(str, plane))}; other facets cut it off' for plane in missing
                ]
        return found

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return a cluster with its elements arranged at random, on a support if one is set."""
        settings = self.settings
        number = index % len(self._plan)
        crystal, _ = self._plan[number]
        shape, n_removed = (self._grow(number, rng), 0) if settings.shape == 'random' else self._shape(number)
        if settings.shape == 'wire':
            atoms, filled = self._fill_wire(shape, rng, requirements)
        else:
            atoms = shape.copy()
            filled = self._fill(atoms, self._crystals[crystal], rng)
        record: dict[str, Any] = {
            'of': {'kind': settings.of.kind, 'crystal': crystal, **filled},
            'shape': settings.shape,
            'n_atoms': len(atoms),
            'composition': {s: n / len(atoms) for s, n in sorted(atoms.symbols.formula.count().items())},
        }
        if n_removed:
            record['n_removed'] = n_removed
        allowed = settings.charged or self.inner.charge_allowed
        if settings.shape == 'wire':
            record |= {'axis': list(settings.axis or ()), 'period_A': float(shape.cell[2, 2])}
            return Parent(
                atoms, record, deformable=WIRE_AXES, repeatable=WIRE_AXES, charge_allowed=allowed, form='wire'
            )
        if self._support and settings.support:
            host, placed = place_on(self._support, settings.support, atoms, index, rng, requirements)
            record |= {'support': {'kind': settings.support.of.kind, **host.record}, **placed}
            return replace(host, record=record, charge_allowed=allowed or host.charge_allowed)
        return Parent(atoms, record, charge_allowed=allowed, form='cluster')

    @cached_property
    def _crystals(self) -> list[Atoms]:
        """The conventional cells of the crystals, with their formal charges as initial charges."""
        from pymatgen.io.ase import AseAtomsAdaptor

        found = []
        for index in self.crystals():
            structure, charges = self.draw_conventional(index)
            cell = AseAtomsAdaptor.get_atoms(structure)
            crystal = Atoms(cell.symbols, cell.positions, cell=cell.cell, pbc=True)
            if charges:
                crystal.set_initial_charges([charges[symbol] for symbol in crystal.get_chemical_symbols()])
            found.append(crystal)
        return found

    def _outline(self, crystal: Atoms) -> Outline:
        axis = None
        if self.settings.axis:
            period = wire_period(crystal, self.settings.axis)
            axis = period / np.linalg.norm(period)
        if not self.settings.surface_energies:
            return Outline(np.zeros((0, 3)), np.zeros(0), axis=axis)
        energies = {facet.miller: facet.energy_J_m2 for facet in self.settings.surface_energies}
        return wulff_outline(crystal, energies, axis)

    def _n_atoms(self, crystal: Atoms, size: float, period_A: float) -> int:
        """Return the number of atoms of a cluster, or of one period of a wire, for a size."""
        if self.settings.n_atoms:
            check_size(size, 'n_atoms')
            return int(size)
        volume = np.pi / 4 * size**2 * period_A if period_A else np.pi / 6 * size**3
        n_atoms = max(1, round(float(volume * len(crystal) / crystal.get_volume())))
        check_size(n_atoms, f'a diameter of {size:g} Å')
        return n_atoms

    def _shape(self, number: int) -> tuple[Atoms, int]:
        """Return the sites of a cluster or of one period of a wire, and the number of ions that were removed."""
        if number not in self._shapes:
            crystal, size = self._plan[number]
            self._shapes[number] = self._make_shape(self._crystals[crystal], size)
        return self._shapes[number]

    def _make_shape(self, crystal: Atoms, size: float) -> tuple[Atoms, int]:
        settings = self.settings
        if settings.shape in FAMILIES:
            a_A = fcc_constant(crystal, settings.shape)
            if settings.n_shells:
                check_size(family_size(settings.shape, int(size)), f'n_shells {size}')
                found = make_family(settings.shape, int(size), a_A)
            else:
                found = nearest_member(settings.shape, self._n_atoms(crystal, size, 0.0), a_A)
            found.symbols[:] = crystal.symbols[0]
            return found, 0
        outline = self._outline(crystal)
        if settings.axis is None:
            return cut(crystal, outline, self._n_atoms(crystal, size, 0.0), charged=settings.charged)
        period_A = float(np.linalg.norm(wire_period(crystal, settings.axis)))
        n_atoms = self._n_atoms(crystal, size, period_A)
        found, n_removed = cut(crystal, outline, n_atoms, period_A=period_A, charged=settings.charged)
        return along_z(
            found, wire_period(crystal, settings.axis), crystal, settings.vacuum_A or WIRE_VACUUM_A
        ), n_removed

    def _n_random(self, number: int) -> int:
        """Return the number of atoms of a random cluster: whole formula units of the crystal."""
        crystal = self._crystals[self._plan[number][0]]
        unit = int(len(crystal) // crystal.symbols.formula.reduce()[1])
        return max(1, round(self._n_atoms(crystal, self._plan[number][1], 0.0) / unit)) * unit

    def _grow(self, number: int, rng: np.random.Generator) -> Atoms:
        members, factor = random_members(self._crystals[self._plan[number][0]], self._n_random(number))
        grown = grow(members, factor, rng)
        if grown is None:
            raise PhysicsViolationError(
                'min_distance', (), 0.0, 1.0,
                f'an atom of a random cluster of {members.get_chemical_formula()} does not fit anywhere',
            )  # fmt: skip
        return grown

    def _fill(self, atoms: Atoms, crystal: Atoms, rng: np.random.Generator) -> dict[str, Any]:
        """Arrange the elements on the sites in place: at random, or as core and shell."""
        self._refuse_quasi_random()
        shell = self.settings.shell
        if shell is None:
            return self.inner.fill(atoms, rng)
        outer = find_shell(atoms, crystal, self.settings.n_shell_layers)
        core = atoms[~outer]
        filled = self.inner.fill(core, rng)
        atoms.symbols[~outer] = core.get_chemical_symbols()
        fill_shell(atoms, outer, shell, rng)
        return {**filled, 'n_shell_atoms': int(outer.sum())}

    def _fill_wire(
        self, wire: Atoms, rng: np.random.Generator, requirements: Requirements
    ) -> tuple[Atoms, dict[str, Any]]:
        """Repeat a wire along its axis to the required length, and further until it can have the composition."""
        self._refuse_quasi_random()
        smallest = max(1, int(np.ceil(requirements.min_width_A / wire.cell[2, 2] - 1e-9)))
        largest = max(1, min(3 * smallest + 3, requirements.max_atoms // len(wire)))
        refused: AutopipeError | None = None
        for count in range(min(smallest, largest), largest + 1):
            atoms = wire.repeat((1, 1, count))
            try:
                return atoms, self.inner.fill(atoms, rng)
            except PhysicsViolationError:
                raise
            except AutopipeError as error:
                refused = error
        raise refused or AssertionError('a wire has at least one period')

    def _refuse_quasi_random(self) -> None:
        if getattr(self.settings.of, 'arrangement', None) == 'sqs':
            raise AutopipeError(
                Code.HOST_UNSUITABLE,
                'a cluster has no quasi-random arrangement, since its sites are not equivalent; '
                'set arrangement: random in the entry under of',
            )


VARIANT = ClusterGenerator
