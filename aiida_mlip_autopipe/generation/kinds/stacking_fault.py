"""Stacking faults: lines on the γ surface of any plane, and the named faults of fcc and hcp."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.generation.base import Parent, Requirements
from aiida_mlip_autopipe.generation.kinds.surface import MillerIndex
from aiida_mlip_autopipe.generation.limits import check_size
from aiida_mlip_autopipe.generation.nested import ComposedGenerator, ComposedSettings
from aiida_mlip_autopipe.generation.surfaces.slabs import Plane, charges_by_element
from aiida_mlip_autopipe.generation.surfaces.stacking import (
    Stack,
    close_packed,
    make_stack,
    primitive_cell,
    surroundings,
)
from aiida_mlip_autopipe.structures.cells import repeats_for_width

# By lattice: the slip plane and the direction of the shortest partial or full displacement in it.
SLIP: dict[str, tuple[Plane, Plane]] = {
    'fcc': ((1, 1, 1), (1, 1, -2)),
    'bcc': ((1, 1, 0), (1, -1, 1)),
    'hcp': ((0, 0, 1), (2, 1, 0)),
    'diamond': ((1, 1, 1), (1, 1, -2)),
}
# The space group and the number of atoms in the primitive cell of these lattices.
LATTICES = {(225, 1): 'fcc', (229, 1): 'bcc', (194, 2): 'hcp', (227, 2): 'diamond'}
NAMED = {'fcc': ('intrinsic', 'extrinsic', 'twin'), 'hcp': ('I1', 'I2', 'E')}


class StackingFaultSettings(ComposedSettings):
    """Stacking faults of a crystal."""

    kind: Literal['stacking_fault'] = 'stacking_fault'
    """Stacking faults."""
    faults: Annotated[
        tuple[Literal['gamma_line', 'intrinsic', 'extrinsic', 'twin', 'I1', 'I2', 'E'], ...], Field(min_length=1)
    ] = ('gamma_line',)
    """Lines on the γ surface, and faults by name: `intrinsic`, `extrinsic` and `twin` in fcc, `I1`, `I2` and `E` in
    hcp."""
    plane: MillerIndex | None = None
    """Plane of the γ lines in the conventional cell; by default [1, 1, 1] in fcc and diamond, [1, 1, 0] in bcc, and
    [0, 0, 1] in hcp."""
    directions: tuple[MillerIndex, ...] = ()
    """Directions of the γ lines in the plane; by default [1, 1, -2] in fcc and diamond, [1, -1, 1] in bcc, and
    [2, 1, 0] in hcp (three-index notation for hexagonal crystals)."""
    n_points: int = Field(default=12, ge=2)
    """Number of points on a γ line, from the perfect crystal up to, but not including, the next perfect crystal."""
    displacements: tuple[float, ...] = ()
    """Displacements, instead of `n_points`, as fractions of the shortest lattice vector along the direction."""
    n_cuts: PositiveInt = 1
    """Number of different gaps between planes of atoms at which the crystal is cut for a γ line, the widest first. In
    diamond the first is the shuffle set and the second the glide set."""
    thickness_A: PositiveFloat = 12.0
    """Minimum distance between a fault and the next one in Å."""

    # A point on a γ line that violates a rule cannot be redrawn.
    default_on_failure: ClassVar[str] = 'skip'

    @model_validator(mode='after')
    def _check(self) -> Self:
        if 'gamma_line' not in self.faults and (self.plane or self.directions or self.displacements):
            raise fault(Code.VALUES_EXCLUDE, 'plane, directions and displacements need gamma_line in faults')
        if self.plane and not self.directions:
            raise fault(Code.VALUES_INCOMPLETE, 'a plane needs directions')
        if self.directions and not self.plane:
            raise fault(Code.VALUES_INCOMPLETE, 'directions need a plane')
        for direction in self.directions:
            if self.plane and np.dot(self.plane, direction):
                raise fault(
                    Code.VALUE_INVALID,
                    f'the direction {_format(direction)} is not in the plane {_format(self.plane)}',
                )
        return self

    @property
    def points(self) -> tuple[float, ...]:
        """The displacements along a γ line."""
        return self.displacements or tuple(number / self.n_points for number in range(self.n_points))


@dataclass(frozen=True, eq=False)
class _Line:
    """A γ line of a crystal."""

    crystal: int
    plane: Plane
    direction: Plane
    stack: Stack
    gap: int


@dataclass(frozen=True, eq=False)
class _Named:
    """A named fault of a crystal."""

    crystal: int
    name: str
    unit: Atoms
    lattice: str


class StackingFaultGenerator(ComposedGenerator):
    """Makes all points of all γ lines, and the named faults, of all crystals."""

    settings_class = StackingFaultSettings
    settings: StackingFaultSettings

    @cached_property
    def _faults(self) -> list[tuple[_Line, float] | tuple[_Named, None]]:
        found: list[tuple[_Line, float] | tuple[_Named, None]] = []
        for crystal in self.crystals():
            unit, lattice = standard_cell(self.draw_crystal(crystal))
            for name in self.settings.faults:
                if name == 'gamma_line':
                    lines = self._lines(crystal, unit, lattice)
                    found += [(line, point) for line in lines for point in self.settings.points]
                elif name in NAMED.get(lattice, ()):
                    found.append((_Named(crystal, name, unit, lattice), None))
                else:
                    raise AutopipeError(
                        Code.HOST_UNSUITABLE,
                        f'{unit.get_chemical_formula()} has no fault {name!r}; fcc metals have '
                        f'{", ".join(NAMED["fcc"])}; hcp metals have {", ".join(NAMED["hcp"])}; all crystals have '
                        'gamma_line',
                    )
        return found

    def _lines(self, crystal: int, unit: Atoms, lattice: str) -> list[_Line]:
        settings = self.settings
        if not settings.plane and lattice not in SLIP:
            raise AutopipeError(
                Code.VALUE_MISSING,
                f'set plane and directions; {unit.get_chemical_formula()} has none of the lattices with defaults: '
                f'{", ".join(SLIP)}',
            )
        plane, directions = (
            (settings.plane, settings.directions) if settings.plane else (SLIP[lattice][0], SLIP[lattice][1:])
        )
        lines = []
        for direction in directions:
            stack = make_stack(unit, plane, direction)
            if settings.n_cuts > len(stack.gaps):
                raise AutopipeError(
                    Code.OUT_OF_RANGE,
                    f'n_cuts: {settings.n_cuts} exceeds the number of different gaps between planes of atoms along '
                    f'{_format(plane)}, {len(stack.gaps)}',
                )
            lines += [_Line(crystal, plane, direction, stack, gap) for gap in range(settings.n_cuts)]
        return lines

    def n_parents(self) -> int | None:
        """Return the number of faults, or None if elements are arranged on the sites at random."""
        return len(self._faults) if self.inner.n_units() is not None else None

    def period(self) -> int:
        """Return the number of faults, which are used in turn."""
        return len(self._faults)

    def default_n_seeds(self) -> int:
        """Return the number of seeds: one for each fault."""
        return len(self._faults) * self.settings.perturb.variants

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return a faulted crystal, repeated along the plane to the required width."""
        found, point = self._faults[index % len(self._faults)]
        if isinstance(found, _Line):
            cut, about = self._cut_line(found, float(point or 0.0), requirements)
        else:
            cut, about = self._cut_named(found, requirements)
        atoms, filled = self.repeat_and_fill(cut, rng, requirements)
        record = {
            'of': {'kind': self.settings.of.kind, 'crystal': found.crystal, **filled},
            **about,
            'area_A2': float(np.linalg.norm(np.cross(atoms.cell[0], atoms.cell[1]))),
        }
        return Parent(atoms, record, repeatable=(False, False, False), charge_allowed=self.inner.charge_allowed)

    def _cut_line(self, line: _Line, point: float, requirements: Requirements) -> tuple[Atoms, dict[str, Any]]:
        """Return a point of a γ line, with the same number of atoms at all points, and its record."""
        stack, height_A = line.stack, line.stack.gaps[line.gap][1]
        n_planes = _n_layers(max(self.settings.thickness_A, requirements.min_width_A), stack.spacing_A)
        check_size(len(stack.atoms) * n_planes, f'a thickness of {n_planes * stack.spacing_A:.1f} Å')
        cut = stack.faulted(n_planes, height_A, point)
        repeats = np.max(
            [
                repeats_for_width(stack.faulted(n_planes, height_A, other), requirements.min_width_A)[:2]
                for other in self.settings.points
            ],
            axis=0,
        )
        if int(np.prod(repeats)) * len(cut) <= requirements.max_atoms:  # otherwise the rule on widths reports it
            cut = cut.repeat((*repeats.tolist(), 1))
        return cut, {
            'fault': 'gamma_line',
            'plane': list(line.plane),
            'direction': list(line.direction),
            'displacement': point,
            'period_A': float(np.linalg.norm(stack.direction_A)),
            'gap': line.gap,
        }

    def _cut_named(self, named: _Named, requirements: Requirements) -> tuple[Atoms, dict[str, Any]]:
        """Return a named fault as a sequence of close-packed layers, and its record."""
        stack = make_stack(named.unit, *SLIP[named.lattice])
        per_plane = len(stack.atoms)
        spacing_A = stack.spacing_A / per_plane
        width_A = max(self.settings.thickness_A, requirements.min_width_A)
        check_size(width_A / spacing_A, f'a thickness of {width_A:.1f} Å')
        signs = stacking_signs(named.name, _n_layers(width_A, spacing_A))
        layer = stack.atoms[:1]
        layer.positions[:] = 0
        return close_packed(signs, layer, spacing_A), {
            'fault': named.name,
            'plane': list(SLIP[named.lattice][0]),
            'layers': surroundings(signs),
        }


def stacking_signs(name: str, n_layers: int) -> list[int]:
    """Return the steps between close-packed layers in a periodic cell with one fault, or with two twin boundaries.

    Parameters
    ----------
    name
        The fault.
    n_layers
        Minimum number of layers between two faults.
    """
    n_layers = max(n_layers, 6)
    n_pairs = -(-n_layers // 2)
    if name == 'intrinsic':  # a layer is removed
        return [1] * (n_layers - 1) + [-1]
    if name == 'extrinsic':  # a layer is added
        return [1] * (n_layers - 2) + [-1, -1]
    if name == 'twin':
        return [1] * n_layers + [-1] * n_layers
    alternating = [1, -1] * n_pairs
    if name == 'I1':  # the growth fault: one layer in an fcc environment
        return [*alternating, 1]
    if name == 'I2':  # the shear fault
        return [*alternating[:-1], 1]
    return [*alternating[:-1], 1, 1]  # E: a layer is added


def standard_cell(unit: Atoms) -> tuple[Atoms, str]:
    """Return the standard conventional cell of a crystal (pymatgen), with its charges, and the name of its lattice.

    The name is empty if the crystal is not fcc, bcc, hcp or diamond with equivalent atoms.
    """
    from pymatgen.io.ase import AseAtomsAdaptor
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    charges = charges_by_element(unit)
    plain = Atoms(unit.symbols, unit.positions, cell=unit.cell, pbc=True)
    analyzer = SpacegroupAnalyzer(AseAtomsAdaptor.get_structure(plain))
    standard = AseAtomsAdaptor.get_atoms(analyzer.get_conventional_standard_structure())
    cell = Atoms(standard.symbols, standard.positions, cell=standard.cell, pbc=True)
    if charges:
        cell.set_initial_charges([charges[symbol] for symbol in cell.get_chemical_symbols()])
    return cell, LATTICES.get((analyzer.get_space_group_number(), len(primitive_cell(cell))), '')


def _n_layers(thickness_A: float, spacing_A: float) -> int:
    return int(np.ceil(thickness_A / spacing_A - 1e-9))


def _format(index: Plane) -> str:
    return ' '.join(map(str, index))


VARIANT = StackingFaultGenerator
