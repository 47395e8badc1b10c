"""Molecules on slabs: on every distinct site, in any orientation, at a height set by covalent radii."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, PhysicsViolationError
from aiida_mlip_autopipe.core.fields import InputFile, fault
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.core.randomness import make_rng
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.generation.base import Parent, Requirements
from aiida_mlip_autopipe.generation.chemistry.molecules import MoleculeName, named_molecule
from aiida_mlip_autopipe.generation.files.reading import describe_dropped, read_structures
from aiida_mlip_autopipe.generation.nested import ComposedGenerator, ComposedSettings
from aiida_mlip_autopipe.generation.particles.molecules import (
    are_apart,
    binding_atom,
    lower_onto,
    rotate,
    set_upright,
)
from aiida_mlip_autopipe.generation.surfaces.adsorption_sites import Site, SiteName, find_sites, repeat_sites
from aiida_mlip_autopipe.generation.surfaces.slabs import half_turn, has_equivalent_faces, upside_down
from aiida_mlip_autopipe.structures.cells import perpendicular_widths
from aiida_mlip_autopipe.structures.vacuum import is_slab

N_RANDOM_SEEDS = 10
CLEARANCE = 3.0  # distance in Å between a molecule and its periodic images
COVERAGE_TOLERANCE = 0.02  # relative
N_TRIALS = 50


class AdsorptionSettings(ComposedSettings):
    """Molecules on the surfaces of another entry."""

    kind: Literal['adsorption'] = 'adsorption'
    """Adsorption."""
    molecules: tuple[MoleculeName, ...] = ()
    """Names of molecules in ASE's G2 collection, such as CO or CH3OH, or symbols of elements for single atoms."""
    files: tuple[InputFile, ...] = ()
    """Files with more molecules, in any format that ASE reads."""
    sites: tuple[SiteName, ...] = ('ontop', 'bridge', 'hollow')
    """Types of site: above one surface atom (`ontop`), between two (`bridge`) or among more (`hollow`)."""
    surface_depth_A: PositiveFloat = 0.9
    """Depth in Å of the surface: atoms up to this far below the highest atom are surface atoms, unless another atom
    covers them. Stepped surfaces need a larger depth."""
    side: Literal['upper', 'lower', 'both'] = 'upper'
    """Side of the slab. With `both`, each seed has molecules on one side only: first the sites of the upper side, then
    those of the lower side, unless symmetry makes the two sides equivalent."""
    orientation: Literal['random', 'upright', 'flipped'] = 'random'
    """Rotate molecules at random, place them upright, or turn them upside down. A molecule of the G2 collection that
    binds through a known atom, such as the O of H2O, is upright if this atom is at the bottom. For any other
    molecule, the orientation in the collection or the file counts as upright."""
    n_molecules: PositiveInt = 1
    """Number of molecules on each slab. All but the first are placed on random sites."""
    coverage: float | None = Field(default=None, gt=0, le=1)
    """Number of molecules per atom of the top layer, instead of `n_molecules`. The slab is repeated until it can
    have this coverage to within 2 %."""
    height_factor: PositiveFloat = 1.0
    """Distance between touching atoms of the molecule and the slab, divided by the sum of their covalent radii."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if not self.molecules and not self.files:
            raise fault(Code.VALUES_INCOMPLETE, 'set molecules, files or both')
        if self.coverage and self.n_molecules != 1:
            raise fault(Code.VALUES_EXCLUDE, 'set n_molecules or coverage, not both')
        return self

    def stream_content(self) -> dict[str, Any]:
        """Return the content from which the random streams are derived: the content of the files, not their paths."""
        return {**super().stream_content(), 'files': [file_sha256(path) for path in self.files]}

    def elements(self) -> frozenset[str]:
        """Return the elements of the slabs and the molecules."""
        found = [atoms for _, atoms in load_molecules(self)]
        return super().elements() | {str(symbol) for atoms in found for symbol in atoms.symbols}


def load_molecules(settings: AdsorptionSettings) -> list[tuple[str, Atoms]]:
    """Return all molecules with their names: from ASE's G2 collection, as single atoms, and from files."""
    found = []
    for number, name in enumerate(settings.molecules):
        try:
            found.append((name, named_molecule(name)))
        except AutopipeError as error:
            raise AutopipeError(error.code, f'molecules[{number}]: {error}') from error
    for path in settings.files:
        found += [(f'{file_sha256(path)[:8]}:{i}', atoms) for i, atoms in enumerate(read_structures(path))]
    return found


@dataclass(frozen=True)
class _Slab:
    """A slab with one side facing up, its distinct sites and all its sites."""

    number: int
    side: str
    atoms: Atoms
    sites: list[Site]
    all_sites: list[Site]


class AdsorptionGenerator(ComposedGenerator):
    """Places every molecule on every distinct site of every slab."""

    settings_class = AdsorptionSettings
    settings: AdsorptionSettings

    @cached_property
    def _molecules(self) -> list[tuple[str, Atoms]]:
        found = load_molecules(self.settings)
        if self.settings.orientation == 'random':
            return found
        return [(name, set_upright(name, molecule)) for name, molecule in found]

    def notes(self) -> list[str]:
        """Return what the inner entry and the molecules leave out."""
        return super().notes() + describe_dropped(self._molecules)

    @cached_property
    def _slabs(self) -> list[_Slab]:
        """Each side of each slab, before repetition; empty if the slabs are random."""
        found = []
        for number in range(self.inner.n_parents() or 0):
            slab = self.inner_parent(number, make_rng(0, 'sites'), Requirements()).atoms
            _check_slab(slab)
            sides = ('upper',) if self.settings.side == 'both' and has_equivalent_faces(slab) else self._sides
            for side in sides:
                atoms = slab if side == 'upper' else upside_down(slab)
                found.append(
                    _Slab(number, side, atoms, self._sites(atoms, distinct=True), self._sites(atoms, distinct=False))
                )
        return found

    @property
    def _sides(self) -> tuple[str, ...]:
        return ('upper', 'lower') if self.settings.side == 'both' else (self.settings.side,)

    @cached_property
    def _plan(self) -> list[tuple[int, int, int]]:
        """The side of a slab, the molecule and the site of each parent; empty if the slabs are random."""
        return [
            (number, m, site)
            for number, slab in enumerate(self._slabs)
            for m, site in product(range(len(self._molecules)), range(len(slab.sites)))
        ]

    def n_parents(self) -> int | None:
        """Return the number of combinations of slab, molecule and site, or None if anything is random."""
        settings = self.settings
        listed = settings.orientation != 'random' and settings.n_molecules == 1 and settings.coverage is None
        return len(self._plan) if listed and self.inner.n_parents() is not None else None

    def default_n_seeds(self) -> int:
        """Return the number of seeds: one for each molecule on each site, or ten if the slabs are random."""
        return (len(self._plan) or N_RANDOM_SEEDS) * self.settings.perturb.variants

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return a slab with molecules on it."""
        settings = self.settings
        if self._plan:
            slab_number, molecule_number, site_number = self._plan[index % len(self._plan)]
            listed = self._slabs[slab_number]
            slab_number, side = listed.number, listed.side
        else:
            slab_number, molecule_number = index, index % len(self._molecules)
            side = self._sides[int(rng.integers(2)) if len(self._sides) > 1 else 0]
        name, molecule = self._molecules[molecule_number]
        host = self._host(slab_number, molecule_number, rng, requirements)
        slab = host.atoms if side == 'upper' else upside_down(host.atoms)
        if self._plan:
            # The sites of the slab before repetition are also sites of the repeated slab.
            first = listed.sites[site_number]
            others = repeat_sites(listed.all_sites, listed.atoms, slab)
        else:
            others = self._sites(slab, distinct=False)
            first = others[int(rng.integers(len(others)))]
        top = _count_top(slab)
        number = round(settings.coverage * top) if settings.coverage else settings.n_molecules
        anchor = binding_atom(name, molecule) if settings.orientation == 'upright' else None
        atoms, chosen = self._place(slab, molecule, anchor, [first, *others], number, rng)
        # The molecules reach into the vacuum, so the cell grows to keep the vacuum as thick as before.
        atoms.cell[2, 2] += max(0.0, atoms.positions[:, 2].max() - slab.positions[:, 2].max())
        places = np.array([site.position for site in chosen])
        if side == 'lower':
            places = places @ half_turn(atoms)
            atoms = upside_down(atoms)
        record = {
            'of': {'kind': settings.of.kind, **host.record},
            'molecule': name,
            'site': first.name,
            'side': side,
            'site_A': places[0, :2].tolist(),
            'n_molecules': number,
            'coverage': number / top,
            'orientation': settings.orientation,
        }
        if number > 1:
            record['sites'] = [site.name for site in chosen]
            record['sites_A'] = places[:, :2].tolist()
        return replace(host, atoms=atoms, record=record, repeatable=(False, False, False), form='slab')

    def check(self, requirements: Requirements) -> None:
        """Refuse molecules that are too large for the largest allowed slab."""
        for number in range(len(self._molecules)):
            self._host(0, number, make_rng(0, 'check'), requirements)

    def _host(
        self, slab_number: int, molecule_number: int, rng: np.random.Generator, requirements: Requirements
    ) -> Parent:
        """Return a slab on which the molecule fits, repeated until it can have the coverage.

        Raises
        ------
        AutopipeError
            If no slab of up to the maximum number of atoms can have the coverage.
        """
        host = self._wide_host(slab_number, molecule_number, rng, requirements)
        coverage = self.settings.coverage
        if coverage is None:
            return host
        possible = set()
        while True:
            top = _count_top(host.atoms)
            nearest = max(1, round(coverage * top)) / top
            if abs(nearest - coverage) <= COVERAGE_TOLERANCE * coverage:
                return host
            possible.add(nearest)
            wider = float(perpendicular_widths(host.atoms)[:2].min()) * (1 + 1e-3)
            larger = self.inner_parent(slab_number, rng, replace(requirements, min_width_A=wider))
            if not len(host.atoms) < len(larger.atoms) <= requirements.max_atoms:
                break
            host = larger
        raise AutopipeError(
            Code.COVERAGE_IMPOSSIBLE,
            f'no slab of {host.atoms.get_chemical_formula(empirical=True)} of up to '
            f'{counted(requirements.max_atoms, "atom")} can have a coverage of {coverage:g} within '
            f'{COVERAGE_TOLERANCE:.0%}; the nearest is {min(possible, key=lambda other: abs(other - coverage)):.4g}',
        )

    def _wide_host(
        self, slab_number: int, molecule_number: int, rng: np.random.Generator, requirements: Requirements
    ) -> Parent:
        """Return a slab, repeated until the molecule and its clearance fit on it."""
        name, molecule = self._molecules[molecule_number]
        extent = float(np.ptp(molecule.positions, axis=0).max()) + CLEARANCE if len(molecule) > 1 else CLEARANCE
        needed = Requirements(max(requirements.min_width_A, extent), requirements.max_atoms)
        host = self.inner_parent(slab_number, rng, needed)
        _check_slab(host.atoms)
        widths = perpendicular_widths(host.atoms)[:2]
        if widths.min() < extent:
            n_atoms = len(host.atoms) * int(np.prod(np.ceil(extent / widths)))
            raise AutopipeError(
                Code.CELL_TOO_SMALL,
                f'{name} needs {extent:.1f} Å, including {CLEARANCE:g} Å of clearance; the slab is '
                f'{widths.min():.1f} Å wide; set validation.max_atoms: {n_atoms + len(molecule)} so that it can be '
                'repeated',
            )
        return host

    def _sites(self, slab: Atoms, *, distinct: bool) -> list[Site]:
        found = find_sites(slab, distinct=distinct, depth_A=self.settings.surface_depth_A)
        sites = [site for site in found if site.name in self.settings.sites]
        if not sites:
            raise AutopipeError(
                Code.SITE_MISSING, f'{slab.get_chemical_formula()} has no {" or ".join(self.settings.sites)} site'
            )
        return sites

    def _place(
        self,
        slab: Atoms,
        molecule: Atoms,
        anchor: int | None,
        sites: list[Site],
        number: int,
        rng: np.random.Generator,
    ) -> tuple[Atoms, list[Site]]:
        """Return the slab with molecules, and the site of each molecule.

        The first molecule is on the first site, and the others are on random sites where they do not touch.
        """
        atoms = slab.copy()
        chosen: list[Site] = []
        placed: list[Atoms] = []
        for _ in range(number):
            for _ in range(N_TRIALS):
                site = sites[int(rng.integers(len(sites)))] if placed else sites[0]
                added = rotate(molecule, self.settings.orientation, rng)
                lower_onto(added, anchor, slab, site, self.settings.height_factor)
                if all(are_apart(added, other, slab) for other in placed):
                    break
            else:
                raise PhysicsViolationError(
                    'coverage', (), float(number), float(len(placed)),
                    f'{counted(number, f"{molecule.get_chemical_formula()} molecule")} cannot be placed on '
                    f'{slab.get_chemical_formula()}; number placed: {len(placed)}',
                )  # fmt: skip
            placed.append(added)
            chosen.append(site)
            atoms += added
        return atoms, chosen


def _check_slab(atoms: Atoms) -> None:
    if not is_slab(atoms):
        raise AutopipeError(
            Code.HOST_UNSUITABLE,
            f'{atoms.get_chemical_formula()} is not a slab with vacuum along z, so it cannot adsorb molecules; use an '
            'entry of kind surface or another slab under `of`',
        )


def _count_top(slab: Atoms) -> int:
    """Return the number of atoms of the top layer."""
    heights = slab.positions[:, 2]
    return int(np.sum(heights > heights.max() - 0.5))


VARIANT = AdsorptionGenerator
