"""Surfaces: slabs of a crystal with vacuum, by Miller index and termination."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Annotated, Literal

import numpy as np
from ase import Atoms
from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt

from aiida_mlip_autopipe.errors import AutopipeError, PhysicsViolationError
from aiida_mlip_autopipe.fields import fault
from aiida_mlip_autopipe.generation.base import Parent, Requirements
from aiida_mlip_autopipe.generation.cells import largest_gap, repeats_for_height
from aiida_mlip_autopipe.generation.nested import ComposedGenerator, ComposedSettings
from aiida_mlip_autopipe.generation.oxidation import guess_charges

LAYER_TOLERANCE = 0.3  # Å between two layers of atoms
POLARITY_LIMIT = 1e-3  # e/Å, the dipole along the normal over the area
SLAB_AXES = (True, True, False)


def _check_miller(index: tuple[int, int, int]) -> tuple[int, int, int]:
    divisor = gcd(*index)
    if divisor == 0:
        raise fault('the Miller index 0 0 0 is no plane; 0 0 1 is one')
    return index[0] // divisor, index[1] // divisor, index[2] // divisor


MillerIndex = Annotated[tuple[int, int, int], AfterValidator(_check_miller)]


class SurfaceSettings(ComposedSettings):
    """Slabs of a crystal."""

    kind: Literal['surface'] = 'surface'
    """Surface."""
    miller_indices: tuple[MillerIndex, ...] = ()
    """Planes in the conventional cell, as [[1, 1, 1], [1, 0, 0]]; by default all distinct ones up to `max_miller`."""
    max_miller: int = Field(default=1, ge=1, le=4)
    """Largest component of the Miller indices."""
    thickness_A: PositiveFloat = 10.0
    """Smallest thickness of the slab in Å, each plane counted with its distance to the next."""
    n_planes: PositiveInt | None = None
    """Thickness in spacings d_hkl of the conventional cell, in place of `thickness_A`: in fcc one holds one layer
    of atoms along [1, 1, 1] and two along [1, 0, 0]."""
    vacuum_A: float = Field(default=15.0, ge=5)
    """Thickness of the vacuum in Å."""
    keep: Literal['stoichiometric', 'symmetric'] = 'stoichiometric'
    """Slabs of the crystal's composition, or slabs whose two faces are alike, where one costs the other."""
    polar: Literal['refuse', 'allow'] = 'refuse'
    """Leave out terminations with a dipole along the normal or, where formal charges are known, a charge."""
    fixed_layers: int = Field(default=0, ge=0)
    """Layers of atoms at the bottom that are held fixed, in the exploration too."""


@dataclass(frozen=True)
class _Cut:
    """One termination of one plane of one crystal."""

    atoms: Atoms
    crystal: int
    miller: tuple[int, int, int]
    shift: float
    symmetric: bool
    stoichiometric: bool
    polar: bool


class SurfaceGenerator(ComposedGenerator):
    """All terminations of the planes, in the order of the planes."""

    settings_class = SurfaceSettings
    settings: SurfaceSettings

    def __init__(self, settings: SurfaceSettings):
        super().__init__(settings)
        self._known: list[_Cut] | None = None

    @property
    def _cuts(self) -> list[_Cut]:
        if self._known is None:
            self._known = self._cut_all()
        return self._known

    def n_parents(self) -> int | None:
        """Return the number of terminations, or None where elements are spread over their sites at random."""
        return len(self._cuts) if self.inner.n_units() is not None else None

    def period(self) -> int:
        """Return the number of terminations, which are in turn."""
        return len(self._cuts)

    def default_n_seeds(self) -> int:
        """Return one seed for each termination."""
        return len(self._cuts) * self.settings.perturb.variants

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return a slab, repeated in its plane to the height asked for, then filled by the inner kind."""
        cut = self._cuts[index % len(self._cuts)]
        atoms = cut.atoms.copy()
        repeats = [*repeats_for_height(atoms, requirements.min_height_A)[:2], 1]
        if len(atoms) * int(np.prod(repeats)) <= requirements.max_atoms:
            atoms = atoms.repeat(repeats)
        filled = self.inner.fill(atoms, rng)
        record = {
            'of': {'kind': self.settings.of.kind, 'crystal': cut.crystal, **filled},
            'miller': list(cut.miller),
            'shift': cut.shift,
            'symmetric': cut.symmetric,
            'stoichiometric': cut.stoichiometric,
            'polar': cut.polar,
            'vacuum_A': self.settings.vacuum_A,
        }
        if self.settings.fixed_layers:
            record['n_fixed'] = _fix_bottom(atoms, self.settings.fixed_layers)
        _check_vacuum(atoms, self.settings.vacuum_A)
        return Parent(
            atoms, record, deformable=SLAB_AXES, repeatable=(False,) * 3, charge_allowed=self.settings.polar == 'allow'
        )

    def _cut_all(self) -> list[_Cut]:
        cuts = [cut for crystal in range(self.inner.n_units() or 1) for cut in self._cut_crystal(crystal)]
        if self.settings.polar == 'allow':
            return cuts
        kept = [cut for cut in cuts if not cut.polar]
        if not kept:
            planes = ', '.join(sorted({' '.join(map(str, cut.miller)) for cut in cuts}))
            raise AutopipeError(
                f'every termination of {planes} is polar; set polar: allow, or take other Miller indices '
                'or a larger max_miller'
            )
        return kept

    def _cut_crystal(self, crystal: int) -> list[_Cut]:
        from pymatgen.core.surface import SlabGenerator, get_symmetrically_distinct_miller_indices
        from pymatgen.io.ase import AseAtomsAdaptor
        from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

        settings = self.settings
        unit = self.inner.draw_unit(crystal)
        if not unit.pbc.all():
            raise AutopipeError(
                f'a surface is cut from a crystal; {unit.get_chemical_formula()} is not periodic in three directions'
            )
        guess_charges(unit)
        structure = AseAtomsAdaptor.get_structure(Atoms(unit.symbols, unit.positions, cell=unit.cell, pbc=True))
        charges = charges_by_element(unit)
        bulk = SpacegroupAnalyzer(structure).get_conventional_standard_structure()
        planes = settings.miller_indices or get_symmetrically_distinct_miller_indices(bulk, settings.max_miller)
        cuts = []
        for plane in sorted(planes, key=lambda plane: (sum(abs(i) for i in plane), [-i for i in plane])):
            slabs = SlabGenerator(
                bulk,
                tuple(plane),
                settings.n_planes or settings.thickness_A,
                # In planes the vacuum too is counted in planes, so it is set afterwards.
                1 if settings.n_planes else settings.vacuum_A,
                in_unit_planes=settings.n_planes is not None,
                center_slab=True,
            ).get_slabs(symmetrize=settings.keep == 'symmetric')
            for slab in sorted(slabs, key=lambda slab: slab.shift):
                atoms = _to_atoms(slab.get_orthogonal_c_slab(), charges, settings.vacuum_A)
                reduced = slab.composition.reduced_formula == bulk.composition.reduced_formula
                cuts.append(
                    _Cut(
                        atoms, crystal, tuple(int(i) for i in plane), round(float(slab.shift), 4),  # type: ignore[arg-type]
                        bool(slab.is_symmetric()), reduced, is_polar(atoms),
                    )
                )  # fmt: skip
        return cuts


def is_polar(slab: Atoms) -> bool:
    """Return whether the formal charges of a slab have a sum or a dipole along its normal."""
    charges = slab.get_initial_charges()
    normal = np.cross(slab.cell.array[0], slab.cell.array[1])
    area = float(np.linalg.norm(normal))
    dipole = float(charges @ slab.positions @ normal) / area
    return abs(charges.sum()) > 1e-6 or abs(dipole) / area > POLARITY_LIMIT


def layers(slab: Atoms) -> np.ndarray:
    """Return the layer of each atom, counted from the bottom, shape (n,)."""
    heights = slab.positions[:, 2]
    order = np.argsort(heights)
    numbers = np.empty(len(slab), dtype=int)
    numbers[order] = np.concatenate([[0], np.cumsum(np.diff(heights[order]) > LAYER_TOLERANCE)])
    return numbers


def _to_atoms(slab: object, charges: dict[str, float], vacuum_A: float) -> Atoms:
    """Return a slab in the middle of its cell with the third vector along the normal, z, and the vacuum asked for."""
    from ase.geometry import cellpar_to_cell
    from pymatgen.io.ase import AseAtomsAdaptor

    found = AseAtomsAdaptor.get_atoms(slab)
    # The slab is one piece in the middle of the cell; its atoms are wrapped, so that z is continuous.
    fractions = found.get_scaled_positions(wrap=True)
    cell = cellpar_to_cell([*found.cell.lengths()[:2], found.cell.lengths()[2], 90, 90, found.cell.angles()[2]])
    atoms = Atoms(found.symbols, scaled_positions=fractions, cell=cell, pbc=True)
    height = float(np.ptp(atoms.positions[:, 2]))
    atoms.positions[:, 2] += vacuum_A / 2 - atoms.positions[:, 2].min()
    cell[2] = [0, 0, height + vacuum_A]
    atoms.set_cell(cell)
    minimize_plane(atoms)
    if charges:
        atoms.set_initial_charges([charges[symbol] for symbol in atoms.get_chemical_symbols()])
    return atoms[np.lexsort((*np.round(atoms.positions.T[:2], 3), np.round(atoms.positions[:, 2], 3)))]


def charges_by_element(atoms: Atoms) -> dict[str, float]:
    """Return the formal charge of each element; empty where they are not known, or not one for each element."""
    pairs = set(zip(atoms.get_chemical_symbols(), atoms.get_initial_charges().tolist(), strict=True))
    charges = dict(pairs)
    return charges if len(charges) == len(pairs) and any(charges.values()) else {}


def minimize_plane(atoms: Atoms) -> None:
    """Make the first two cell vectors the shortest of their plane (Gauss's reduction), with the first along x."""
    first, second, third = atoms.cell.array
    while True:
        if np.linalg.norm(second) < np.linalg.norm(first) - 1e-9:
            first, second = second, first
        steps = np.round(first @ second / (first @ first) - 1e-9)
        if not steps:
            break
        second = second - steps * first
    if np.cross(first, second)[2] < 0:
        second = -second
    atoms.set_cell([first, second, third])
    atoms.rotate(-np.degrees(np.arctan2(first[1], first[0])), 'z', rotate_cell=True)
    atoms.wrap(pbc=(True, True, False))


def _fix_bottom(atoms: Atoms, n_layers: int) -> int:
    from ase.constraints import FixAtoms

    numbers = layers(atoms)
    if numbers.max() < n_layers:
        most = numbers.max()
        raise AutopipeError(
            f'fixed_layers: {n_layers} would fix all {most + 1} layers of the slab; at most {most} can be'
        )
    atoms.set_constraint(FixAtoms(mask=numbers < n_layers))
    return int(np.sum(numbers < n_layers))


def _check_vacuum(atoms: Atoms, vacuum_A: float) -> None:
    """Refuse a slab whose vacuum holds an atom."""
    gap = largest_gap(atoms, axis=2)
    if gap < 0.95 * vacuum_A:
        raise PhysicsViolationError(
            'vacuum', (), gap, vacuum_A,
            f'the vacuum of {atoms.get_chemical_formula()} is {gap:.2f} Å thick; {vacuum_A:.2f} Å were asked for',
        )  # fmt: skip
