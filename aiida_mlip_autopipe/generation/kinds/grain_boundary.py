"""Grain boundaries: two grains of a cubic or hexagonal crystal with a coincidence site lattice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.generation.base import Parent, Requirements
from aiida_mlip_autopipe.generation.kinds.alloy import AlloySettings
from aiida_mlip_autopipe.generation.kinds.surface import MillerIndex
from aiida_mlip_autopipe.generation.limits import check_size
from aiida_mlip_autopipe.generation.nested import ComposedGenerator, ComposedSettings
from aiida_mlip_autopipe.generation.surfaces.coincidence import (
    Boundary,
    HexagonalRotation,
    Rotation,
    hexagonal_rotations,
    rotations,
)
from aiida_mlip_autopipe.generation.surfaces.slabs import Plane, charges_by_element

MAX_SIGMA = 51


class GrainBoundarySettings(ComposedSettings):
    """Grain boundaries of a cubic or hexagonal crystal; a periodic cell contains two."""

    kind: Literal['grain_boundary'] = 'grain_boundary'
    """Grain boundaries."""
    axes: Annotated[tuple[MillerIndex, ...], Field(min_length=1)] = ((0, 0, 1),)
    """Axes of the rotation between the grains; for a hexagonal crystal only [0, 0, 1]."""
    characters: tuple[Literal['tilt', 'twist'], ...] = ('tilt', 'twist')
    """Tilt boundaries, whose plane contains the axis, and twist boundaries, whose plane is normal to the axis."""
    n_tilt_planes: PositiveInt = 2
    """Number of tilt boundaries for each rotation: two symmetric ones, then (in cubic crystals) asymmetric ones."""
    max_sigma: int = Field(default=5, ge=3, le=MAX_SIGMA)
    """Maximum Σ; all Σ up to it that exist for the axis are used."""
    sigmas: tuple[int, ...] = ()
    """Values of Σ to use, instead of all up to `max_sigma`."""
    thickness_A: PositiveFloat = 10.0
    """Minimum thickness of each grain in Å."""
    rigid_shift: bool = False
    """Shift one grain along the boundary by a random fraction of the cell, different in each seed."""
    gap_A: float = Field(default=0.0, ge=0, le=3)
    """Gap in Å between the grains at each boundary."""
    merge_factor: float = Field(default=0.7, ge=0, lt=1)
    """Merge two atoms of one element that are closer than this fraction of their shortest distance in the crystal."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if isinstance(self.of, AlloySettings) and self.of.arrangement == 'sqs':
            raise fault(
                Code.HOST_UNSUITABLE,
                'a grain boundary cannot be quasi-random; set arrangement: random',
            )
        return self


@dataclass(frozen=True)
class _Boundary:
    """A grain boundary of one crystal."""

    unit: Atoms
    crystal: int
    axis: Plane
    character: str
    rotation: Rotation | HexagonalRotation
    boundary: Boundary


class GrainBoundaryGenerator(ComposedGenerator):
    """Makes all grain boundaries of all crystals, in the order of the axes and Σ."""

    settings_class = GrainBoundarySettings
    settings: GrainBoundarySettings

    @cached_property
    def _boundaries(self) -> list[_Boundary]:
        settings = self.settings
        units = [conventional_cell(self.draw_crystal(crystal)) for crystal in self.crystals()]
        return [
            _Boundary(unit, crystal, axis, character, rotation, boundary)
            for crystal, (unit, system) in enumerate(units)
            for axis in settings.axes
            for rotation in self._rotations(axis, system)
            for character in settings.characters
            for boundary in rotation.boundaries(character, settings.n_tilt_planes)
        ]

    def _rotations(self, axis: Plane, system: str) -> Sequence[Rotation | HexagonalRotation]:
        if system == 'hexagonal' and axis != (0, 0, 1):
            raise AutopipeError(
                Code.BOUNDARY_IMPOSSIBLE,
                f'a hexagonal crystal supports only the axis 0 0 1, not {_format(axis)}',
            )
        known: Sequence[Rotation | HexagonalRotation] = (
            hexagonal_rotations(MAX_SIGMA) if system == 'hexagonal' else rotations(axis, MAX_SIGMA)
        )
        if not self.settings.sigmas:
            chosen = [rotation for rotation in known if rotation.sigma <= self.settings.max_sigma]
            if chosen:
                return chosen
            raise AutopipeError(
                Code.BOUNDARY_IMPOSSIBLE,
                f'the axis {_format(axis)} has no Σ up to {self.settings.max_sigma}; its smallest is {known[0].sigma}',
            )
        by_sigma = {rotation.sigma: rotation for rotation in known}
        for sigma in self.settings.sigmas:
            if sigma not in by_sigma:
                nearest = sorted(sorted(by_sigma, key=lambda other: abs(other - sigma))[:3])
                raise AutopipeError(
                    Code.BOUNDARY_IMPOSSIBLE,
                    f'Σ{sigma} does not exist for the axis {_format(axis)} (searched up to Σ{MAX_SIGMA}); '
                    f'the nearest are {", ".join(map(str, nearest))}',
                )
        return [by_sigma[sigma] for sigma in self.settings.sigmas]

    def n_parents(self) -> int | None:
        """Return the number of grain boundaries, or None if the shift or the arrangement is random."""
        listed = not self.settings.rigid_shift and self.inner.n_units() is not None
        return len(self._boundaries) if listed else None

    def period(self) -> int:
        """Return the number of grain boundaries, which are used in turn."""
        return len(self._boundaries)

    def default_n_seeds(self) -> int:
        """Return the number of seeds: one for each grain boundary."""
        return len(self._boundaries) * self.settings.perturb.variants

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return two grains in one cell, repeated along the boundary to the required width."""
        settings = self.settings
        boundary = self._boundaries[index % len(self._boundaries)]
        unit = boundary.unit
        shift = rng.uniform(0, 1, 2) if settings.rigid_shift else np.zeros(2)
        atoms = _join(unit, boundary.boundary, settings.thickness_A, settings.gap_A, shift)
        atoms, merged = _merge(atoms, unit, settings.merge_factor)
        charges = charges_by_element(unit)
        if charges:
            atoms.set_initial_charges([charges[symbol] for symbol in atoms.get_chemical_symbols()])
        atoms, filled = self.repeat_and_fill(atoms, rng, requirements)
        record = {
            'of': {'kind': settings.of.kind, 'crystal': boundary.crystal, **filled},
            'axis': list(boundary.axis),
            'character': boundary.character,
            'sigma': boundary.rotation.sigma,
            'angle_deg': boundary.rotation.angle,
            'plane': boundary.boundary.planes[0],
            'other_plane': boundary.boundary.planes[1],
            'shift': shift.tolist(),
            'n_merged': merged,
        }
        return Parent(atoms, record, repeatable=(False, False, False), charge_allowed=self.inner.charge_allowed)


def _format(index: Plane) -> str:
    return ' '.join(map(str, index))


def conventional_cell(unit: Atoms) -> tuple[Atoms, str]:
    """Return the conventional cell of a crystal and its lattice, ``cubic`` or ``hexagonal``.

    Raises
    ------
    AutopipeError
        If the crystal is not cubic, hexagonal or trigonal.
    """
    from pymatgen.io.ase import AseAtomsAdaptor
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    lengths, angles = unit.cell.lengths(), unit.cell.angles()
    if np.ptp(lengths) < 1e-6 and np.allclose(angles, 90):
        return unit, 'cubic'
    charges = charges_by_element(unit)
    plain = Atoms(unit.symbols, unit.positions, cell=unit.cell, pbc=True)
    analyzer = SpacegroupAnalyzer(AseAtomsAdaptor.get_structure(plain))
    system = str(analyzer.get_crystal_system())
    if system not in ('cubic', 'hexagonal', 'trigonal'):
        raise AutopipeError(
            Code.HOST_UNSUITABLE,
            f'grain boundaries need a cubic or hexagonal crystal; {unit.get_chemical_formula()} is {system}',
        )
    found = AseAtomsAdaptor.get_atoms(analyzer.get_conventional_standard_structure())
    cell = Atoms(found.symbols, found.positions, cell=found.cell, pbc=True)
    if charges:
        cell.set_initial_charges([charges[symbol] for symbol in cell.get_chemical_symbols()])
    return cell, 'cubic' if system == 'cubic' else 'hexagonal'


def _join(unit: Atoms, boundary: Boundary, thickness_A: float, gap_A: float, shift: np.ndarray) -> Atoms:
    """Return the two grains, one above the other, with the normal of the boundary along z."""
    from ase.build import make_supercell
    from ase.geometry import cellpar_to_cell

    plain = Atoms(unit.symbols, unit.positions, cell=unit.cell, pbc=True)
    bottom, parts = 0.0, Atoms()
    for number, rows in enumerate(boundary.cells):
        grain = make_supercell(plain, rows)
        first, second, third = grain.cell.lengths()
        n_repeats = int(np.ceil(thickness_A / third - 1e-9))
        check_size(len(grain) * n_repeats, f'a grain with a thickness of {thickness_A:g} Å')
        # The first two vectors are the same in both grains, apart from the rotation.
        box = cellpar_to_cell([first, second, third, 90, 90, grain.cell.angles()[2]])
        fractions = grain.get_scaled_positions()
        fractions[np.isclose(fractions, 1, atol=1e-8)] = 0
        layers = np.concatenate([fractions + np.array([0, 0, layer]) for layer in range(n_repeats)])
        layers[:, :2] += number * shift
        parts += Atoms(np.tile(grain.numbers, n_repeats), layers @ box + [0, 0, bottom])
        bottom += n_repeats * third + gap_A
    parts.set_cell([box[0], box[1], [0, 0, bottom]])
    parts.pbc = True
    parts.wrap()
    return parts


def _merge(atoms: Atoms, unit: Atoms, factor: float) -> tuple[Atoms, int]:
    """Merge pairs of atoms that are too close into one atom at the midpoint; also return the number of merged pairs."""
    from matscipy.neighbours import neighbour_list

    crystal = unit.repeat(3)
    nearest = {}
    for symbol in set(unit.get_chemical_symbols()):
        same = crystal[[i for i, other in enumerate(crystal.get_chemical_symbols()) if other == symbol]]
        nearest[symbol] = float(np.sort(same.get_all_distances(mic=True)[0])[1])
    first, second, vectors, distances = neighbour_list(
        'ijDd', positions=atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc, cutoff=max(nearest.values())
    )
    symbols = atoms.get_chemical_symbols()
    positions = atoms.positions.copy()
    removed: set[int] = set()
    for pair in np.argsort(distances, kind='stable'):
        i, j = int(first[pair]), int(second[pair])
        if distances[pair] >= factor * max(nearest.values()):
            break
        is_free = i < j and not {i, j} & removed
        if is_free and symbols[i] == symbols[j] and distances[pair] < factor * nearest[symbols[i]]:
            positions[i] += vectors[pair] / 2
            removed.add(j)
    kept = atoms.copy()
    kept.positions = positions
    del kept[sorted(removed)]
    kept.wrap()
    return kept, len(removed)


VARIANT = GrainBoundaryGenerator
