"""Grain boundaries: two grains of a cubic crystal that share a lattice of coincidence sites."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat

from aiida_mlip_autopipe.errors import AutopipeError
from aiida_mlip_autopipe.generation.base import Parent, Requirements
from aiida_mlip_autopipe.generation.coincidence import Rotation, boundary_cells, rotations, tilt_planes
from aiida_mlip_autopipe.generation.nested import ComposedGenerator, ComposedSettings
from aiida_mlip_autopipe.generation.slabs import charges_by_element
from aiida_mlip_autopipe.generation.surface import MillerIndex

N_RANDOM_SEEDS = 10
LARGEST_SIGMA = 51


class InterfaceSettings(ComposedSettings):
    """Grain boundaries of a cubic crystal; a cell holds two, one where the grains meet and one at its faces."""

    kind: Literal['interface'] = 'interface'
    """Grain boundaries."""
    axes: Annotated[tuple[MillerIndex, ...], Field(min_length=1)] = ((0, 0, 1),)
    """Axes about which one grain is turned."""
    characters: tuple[Literal['tilt', 'twist'], ...] = ('tilt', 'twist')
    """Symmetric tilt boundaries, whose plane holds the axis, and twist boundaries, whose plane is normal to it."""
    max_sigma: int = Field(default=5, ge=3, le=LARGEST_SIGMA)
    """Largest Σ, of those that the axis has."""
    sigmas: tuple[int, ...] = ()
    """Take these Σ instead."""
    thickness_A: PositiveFloat = 10.0
    """Smallest thickness of each grain in Å."""
    rigid_shift: bool = False
    """Shift one grain along the boundary by a random part of the cell, anew in each seed."""
    gap_A: float = Field(default=0.0, ge=0, le=3)
    """Distance in Å put between the grains at each boundary."""
    merge_factor: float = Field(default=0.7, ge=0, lt=1)
    """Two atoms of an element that are nearer than this share of its distance in the crystal become one, half way."""


@dataclass(frozen=True)
class _Boundary:
    """A boundary of one crystal."""

    crystal: int
    axis: tuple[int, int, int]
    character: str
    normal: np.ndarray
    rotation: Rotation


class InterfaceGenerator(ComposedGenerator):
    """All boundaries of all crystals, by axis and Σ."""

    settings_class = InterfaceSettings
    settings: InterfaceSettings

    @cached_property
    def _boundaries(self) -> list[_Boundary]:
        settings = self.settings
        return [
            _Boundary(crystal, axis, character, normal, rotation)
            for crystal in self.crystals()
            for axis in settings.axes
            for rotation in self._rotations(axis)
            for character in settings.characters
            for normal in ([np.array(axis)] if character == 'twist' else tilt_planes(axis, rotation))
        ]

    def _rotations(self, axis: tuple[int, int, int]) -> list[Rotation]:
        known = rotations(axis, LARGEST_SIGMA)
        if not self.settings.sigmas:
            chosen = [rotation for rotation in known if rotation.sigma <= self.settings.max_sigma]
            if chosen:
                return chosen
            raise AutopipeError(
                f'the axis {_words(axis)} has no Σ up to {self.settings.max_sigma}; {known[0].sigma} is its first'
            )
        by_sigma = {rotation.sigma: rotation for rotation in known}
        for sigma in self.settings.sigmas:
            if sigma not in by_sigma:
                nearest = sorted(sorted(by_sigma, key=lambda other: abs(other - sigma))[:3])
                raise AutopipeError(
                    f'there is no Σ{sigma} about the axis {_words(axis)} (up to Σ{LARGEST_SIGMA}); '
                    f'the nearest are {", ".join(map(str, nearest))}'
                )
        return [by_sigma[sigma] for sigma in self.settings.sigmas]

    def n_parents(self) -> int | None:
        """Return the number of boundaries; None where a shift or the arrangement is random."""
        listed = not self.settings.rigid_shift and self.inner.n_units() is not None
        return len(self._boundaries) if listed else None

    def period(self) -> int:
        """Return the number of boundaries, which are in turn."""
        return len(self._boundaries)

    def default_n_seeds(self) -> int:
        """Return one seed of each boundary."""
        return len(self._boundaries) * self.settings.perturb.variants

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return two grains in one cell, repeated along the boundary to the height asked for."""
        settings = self.settings
        boundary = self._boundaries[index % len(self._boundaries)]
        unit = _cubic(self.inner.draw_unit(boundary.crystal))
        shift = rng.uniform(0, 1, 2) if settings.rigid_shift else np.zeros(2)
        atoms = _join(unit, boundary, settings.thickness_A, settings.gap_A, shift)
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
            'plane': boundary.normal.tolist(),
            'shift': shift.tolist(),
            'n_merged': merged,
        }
        return Parent(atoms, record, repeatable=(False, False, False), charge_allowed=self.inner.charge_allowed)


def _words(index: tuple[int, int, int]) -> str:
    return ' '.join(map(str, index))


def _cubic(unit: Atoms) -> Atoms:
    """Return the conventional cell of a cubic crystal."""
    lengths, angles = unit.cell.lengths(), unit.cell.angles()
    if np.ptp(lengths) < 1e-6 and np.allclose(angles, 90):
        return unit
    from pymatgen.io.ase import AseAtomsAdaptor
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    charges = charges_by_element(unit)
    plain = Atoms(unit.symbols, unit.positions, cell=unit.cell, pbc=True)
    analyzer = SpacegroupAnalyzer(AseAtomsAdaptor.get_structure(plain))
    if analyzer.get_crystal_system() != 'cubic':
        raise AutopipeError(
            f'grain boundaries are made of cubic crystals; {unit.get_chemical_formula()} '
            f'is {analyzer.get_crystal_system()}'
        )
    found = AseAtomsAdaptor.get_atoms(analyzer.get_conventional_standard_structure())
    cubic = Atoms(found.symbols, found.positions, cell=found.cell, pbc=True)
    if charges:
        cubic.set_initial_charges([charges[symbol] for symbol in cubic.get_chemical_symbols()])
    return cubic


def _join(unit: Atoms, boundary: _Boundary, thickness_A: float, gap_A: float, shift: np.ndarray) -> Atoms:
    """Return the two grains one above the other, the boundary's normal along z."""
    from ase.build import make_supercell
    from ase.geometry import cellpar_to_cell

    a_A = float(unit.cell.lengths()[0])
    rows = boundary_cells(boundary.normal, boundary.rotation)
    length = a_A * float(np.linalg.norm(boundary.normal))
    n_repeats = int(np.ceil(thickness_A / length - 1e-9))
    grains = [make_supercell(Atoms(unit.symbols, unit.positions, cell=unit.cell, pbc=True), cell) for cell in rows]
    first, second, _ = grains[0].cell.array
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    plane = cellpar_to_cell(
        [np.linalg.norm(first), np.linalg.norm(second), length, 90, 90, float(np.degrees(np.arccos(cosine)))]
    )
    parts = []
    for number, grain in enumerate(grains):
        fractions = grain.get_scaled_positions()
        fractions[np.isclose(fractions, 1, atol=1e-8)] = 0
        layers = np.concatenate([fractions + np.array([0, 0, layer]) for layer in range(n_repeats)])
        layers[:, :2] += number * shift
        positions = layers @ plane + [0, 0, number * (n_repeats * length + gap_A)]
        parts.append(Atoms(np.tile(grain.numbers, n_repeats), positions))
    box = plane.copy()
    box[2] = [0, 0, 2 * (n_repeats * length + gap_A)]
    joined = parts[0] + parts[1]
    joined.set_cell(box)
    joined.pbc = True
    joined.wrap()
    return joined


def _merge(atoms: Atoms, unit: Atoms, factor: float) -> tuple[Atoms, int]:
    """Return the structure with atoms that are too close merged half way, and how many are gone."""
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
    gone: set[int] = set()
    for pair in np.argsort(distances, kind='stable'):
        i, j = int(first[pair]), int(second[pair])
        if distances[pair] >= factor * max(nearest.values()):
            break
        if i < j and symbols[i] == symbols[j] and not {i, j} & gone and distances[pair] < factor * nearest[symbols[i]]:
            positions[i] += vectors[pair] / 2
            gone.add(j)
    kept = atoms.copy()
    kept.positions = positions
    del kept[sorted(gone)]
    kept.wrap()
    return kept, len(gone)
