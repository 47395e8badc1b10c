"""Surfaces: slabs of a crystal in vacuum, by Miller indices and termination."""

from __future__ import annotations

from dataclasses import replace
from math import gcd, prod
from typing import Annotated, Any, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, PhysicsViolationError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.generation.base import Parent, Requirements
from aiida_mlip_autopipe.generation.limits import check_size, check_time
from aiida_mlip_autopipe.generation.nested import ComposedGenerator, ComposedSettings
from aiida_mlip_autopipe.generation.surfaces.slabs import (
    Cut,
    Plane,
    atomic_planes,
    distinct_planes,
    has_equivalent_faces,
    is_polar,
    plane_order,
    planes_per_layer,
    slab_to_atoms,
    smallest_slab,
    trim,
    upside_down,
)
from aiida_mlip_autopipe.structures.duplicates import fingerprint
from aiida_mlip_autopipe.structures.vacuum import empty_layers

SLAB_AXES = (True, True, False)


def _check_miller(index: tuple[int, int, int]) -> tuple[int, int, int]:
    divisor = gcd(*index)
    if divisor == 0:
        raise fault(Code.VALUE_INVALID, '0 0 0 is neither a plane nor a direction; a valid value is 0 0 1')
    return index[0] // divisor, index[1] // divisor, index[2] // divisor


MillerIndex = Annotated[tuple[int, int, int], AfterValidator(_check_miller)]


class SurfaceSettings(ComposedSettings):
    """Slabs of a crystal."""

    kind: Literal['surface'] = 'surface'
    """Surface."""
    miller_indices: tuple[MillerIndex, ...] = ()
    """Planes in the conventional cell, such as [[1, 1, 1], [1, 0, 0]]; by default all distinct planes up to
    `max_miller`."""
    max_miller: int = Field(default=1, ge=1, le=4)
    """Maximum absolute Miller index."""
    thickness_A: PositiveFloat = 10.0
    """Minimum thickness of the slab in Å, as the sum of the spacings of its planes."""
    n_layers: PositiveInt | None = None
    """Minimum number of layers, instead of `thickness_A`; the slab is the thinnest that `keep` allows. A layer is one
    plane of atoms (whose heights differ by less than 0.3 Å). If planes have formal charges, it is the thinnest neutral
    stack of planes: O–Ti₂O₂–O along [1, 1, 0] of rutile, or Mg–O along [1, 1, 1] of MgO."""
    n_planes: PositiveInt | None = None
    """Thickness in interplanar spacings d_hkl of the conventional cell, instead of `thickness_A`. In fcc, one spacing
    contains one atomic layer along [1, 1, 1] and two along [1, 0, 0]."""
    supercell: tuple[PositiveInt, PositiveInt] = (1, 1)
    """Number of repeats of the surface cell along its two vectors, for example for a defect on a larger surface. The
    slab is repeated further if it is too small for the calculator."""
    vacuum_A: float = Field(default=15.0, ge=5)
    """Thickness of the vacuum in Å."""
    keep: Literal['stoichiometric', 'symmetric'] = 'stoichiometric'
    """Prefer slabs with the composition of the crystal, or with two equivalent faces, if they cannot have both."""
    polar: Literal['refuse', 'allow'] = 'refuse'
    """Discard terminations with a net formal charge or a dipole along the normal, or allow them."""
    fixed_layers: int = Field(default=0, ge=0)
    """Number of layers at the bottom that are fixed, including during the exploration. Layers are defined as for
    `n_layers`. A slab with two different faces is then made twice, once upside down, so that each face is free in one
    of the two."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if self.n_layers and self.n_planes:
            raise fault(Code.VALUES_EXCLUDE, 'set n_layers or n_planes, not both')
        return self


class SurfaceGenerator(ComposedGenerator):
    """Makes all terminations of all planes, plane by plane."""

    settings_class = SurfaceSettings
    settings: SurfaceSettings

    def __init__(self, settings: SurfaceSettings):
        super().__init__(settings)
        self._cached_cuts: list[Cut] | None = None

    @property
    def cuts(self) -> list[Cut]:
        """The distinct terminations of all planes of all crystals."""
        if self._cached_cuts is None:
            self._cached_cuts = self._cut_all()
        return self._cached_cuts

    def n_parents(self) -> int | None:
        """Return the number of terminations, or None if elements are arranged on the sites at random."""
        return len(self.cuts) if self.inner.n_units() is not None else None

    def period(self) -> int:
        """Return the number of terminations, which are used in turn."""
        return len(self.cuts)

    def default_n_seeds(self) -> int:
        """Return the number of seeds: one for each termination."""
        return len(self.cuts) * self.settings.perturb.variants

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return a slab, repeated in its plane to the required width, with its sites filled by the inner kind."""
        cut = self.cuts[index % len(self.cuts)]
        surface_cell = cut.atoms.repeat((*self.settings.supercell, 1))
        atoms, filled = self.repeat_and_fill(surface_cell, rng, requirements)
        record = {
            'of': {'kind': self.settings.of.kind, 'crystal': cut.crystal, **filled},
            'miller': list(cut.miller),
            'shift': cut.shift,
            'symmetric': cut.symmetric,
            'stoichiometric': cut.stoichiometric,
            'polar': cut.polar,
            'vacuum_A': self.settings.vacuum_A,
        }
        if self.settings.supercell != (1, 1):
            record['supercell'] = list(self.settings.supercell)
        if cut.upside_down:
            record['upside_down'] = True
        if self.settings.fixed_layers:
            record['n_fixed'] = _fix_bottom(atoms, self.settings.fixed_layers, planes_per_layer(cut.atoms))
        _check_vacuum(atoms, self.settings.vacuum_A)
        allowed = self.settings.polar == 'allow' or self.inner.charge_allowed
        return Parent(atoms, record, deformable=SLAB_AXES, repeatable=(False,) * 3, charge_allowed=allowed, form='slab')

    def _cut_all(self) -> list[Cut]:
        cuts = [cut for crystal in self.crystals() for cut in self._cut_crystal(crystal)]
        if self.settings.polar == 'allow':
            return cuts
        kept = [cut for cut in cuts if not cut.polar]
        if not kept:
            planes = ', '.join(sorted({' '.join(map(str, cut.miller)) for cut in cuts}))
            raise AutopipeError(
                Code.SURFACES_POLAR,
                f'all terminations of {planes} are polar; set polar: allow, or use other planes',
            )
        return kept

    def _cut_crystal(self, crystal: int) -> list[Cut]:
        from pymatgen.io.ase import AseAtomsAdaptor

        settings = self.settings
        bulk, charges = self.draw_conventional(crystal)
        planes = settings.miller_indices or distinct_planes(AseAtomsAdaptor.get_atoms(bulk), settings.max_miller)
        cuts: list[Cut] = []
        known: set[str] = set()
        for plane in sorted(planes, key=plane_order):
            check_time()
            self._check_size(AseAtomsAdaptor.get_atoms(bulk), plane)
            for slab in self._terminations(bulk, plane):
                atoms = slab_to_atoms(slab.get_orthogonal_c_slab(), charges, settings.vacuum_A)
                stoichiometric = slab.composition.reduced_formula == bulk.composition.reduced_formula
                if settings.n_layers:
                    atoms = trim(atoms, settings.n_layers, keep_composition=stoichiometric)
                mark = fingerprint(atoms)
                if mark in known:
                    continue
                known.add(mark)
                cut = Cut(
                    atoms,
                    crystal,
                    plane,
                    round(float(slab.shift), 4),
                    has_equivalent_faces(atoms),
                    stoichiometric,
                    is_polar(atoms),
                )
                cuts.append(cut)
                if settings.fixed_layers and not cut.symmetric:
                    # Only the upper face is free to move, so each of the two faces must be the upper one once.
                    cuts.append(replace(cut, atoms=upside_down(atoms), upside_down=True))
        return cuts

    def _check_size(self, crystal: Atoms, plane: Plane) -> None:
        """Refuse a slab with too many atoms before pymatgen cuts it."""
        settings = self.settings
        if settings.n_layers:
            n_atoms, request = float(settings.n_layers), f'n_layers {settings.n_layers}'
        elif settings.n_planes:
            spacing_A = 1 / float(np.linalg.norm(np.linalg.solve(crystal.cell.array, plane)))
            n_atoms = smallest_slab(crystal, plane, settings.n_planes * spacing_A)
            request = f'n_planes {settings.n_planes}'
        else:
            n_atoms = smallest_slab(crystal, plane, settings.thickness_A)
            request = f'a thickness of {settings.thickness_A:g} Å'
        if settings.supercell != (1, 1):
            n_atoms *= prod(settings.supercell)
            request += f' in a supercell {list(settings.supercell)}'
        check_size(n_atoms, f'{request} along {" ".join(map(str, plane))}')

    def _terminations(self, bulk: Any, plane: Plane) -> list[Any]:
        """Return the slabs of a plane from pymatgen, one for each possible cut. Some may be equivalent."""
        from pymatgen.core.surface import SlabGenerator

        settings = self.settings
        # A spacing contains at least one layer of atoms. The vacuum is 1 in this unit; `slab_to_atoms` sets it later.
        in_planes = settings.n_layers or settings.n_planes
        generator = SlabGenerator(
            bulk, plane, in_planes or settings.thickness_A, 1 if in_planes else settings.vacuum_A,
            in_unit_planes=in_planes is not None, center_slab=False,
        )  # fmt: skip
        _check_time_before(generator)
        # Fingerprints find equivalent slabs faster than pymatgen, whose tolerance grows with the vacuum.
        slabs = sorted(generator.get_slabs(filter_out_sym_slabs=False), key=lambda slab: slab.shift)
        if settings.keep == 'symmetric':
            return [symmetric for slab in slabs for symmetric in generator.nonstoichiometric_symmetrized_slab(slab)]
        return slabs


def _check_time_before(generator: Any) -> None:
    """Make a generator of pymatgen check the time before each slab."""
    get_slab = generator.get_slab

    def timed(*arguments: Any, **options: Any) -> Any:
        check_time()
        return get_slab(*arguments, **options)

    generator.get_slab = timed


def _fix_bottom(atoms: Atoms, n_layers: int, n_planes: int) -> int:
    """Fix the lowest layers, each with a given number of atomic planes, and return the number of fixed atoms."""
    from ase.constraints import FixAtoms

    numbers = atomic_planes(atoms) // n_planes
    if numbers.max() < n_layers:
        maximum = numbers.max()
        raise AutopipeError(
            Code.OUT_OF_RANGE,
            f'fixed_layers: {n_layers} would fix the whole slab of {counted(maximum + 1, "layer")}; the maximum is '
            f'{maximum}',
        )
    atoms.set_constraint(FixAtoms(mask=numbers < n_layers))
    return int(np.sum(numbers < n_layers))


def _check_vacuum(atoms: Atoms, vacuum_A: float) -> None:
    """Refuse a slab with an atom in its vacuum."""
    gap = float(empty_layers(atoms)[2])
    if gap < 0.95 * vacuum_A:
        raise PhysicsViolationError(
            'vacuum', (), gap, vacuum_A,
            f'the vacuum of {atoms.get_chemical_formula()} is {gap:.2f} Å thick instead of {vacuum_A:.2f} Å',
        )  # fmt: skip


VARIANT = SurfaceGenerator
