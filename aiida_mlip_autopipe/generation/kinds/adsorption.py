"""Molecules on slabs: every distinct site, any orientation, at the height that covalent radii give."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from itertools import product
from typing import Annotated, Any, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, PhysicsViolationError
from aiida_mlip_autopipe.core.fields import InputFile, fault
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.core.randomness import make_rng
from aiida_mlip_autopipe.generation.base import Parent, Requirements
from aiida_mlip_autopipe.generation.geometry.adsorption_sites import Site, SiteName, find_sites, repeat_sites
from aiida_mlip_autopipe.generation.geometry.slabs import has_like_faces, upside_down
from aiida_mlip_autopipe.generation.kinds.structures import read_structures
from aiida_mlip_autopipe.generation.nested import ComposedGenerator, ComposedSettings
from aiida_mlip_autopipe.structures.cells import cell_heights

N_RANDOM_SEEDS = 10
CLEARANCE = 3.0  # Å between a molecule and its own images
MOLECULE_FACTOR = 1.6  # sums of covalent radii between atoms of two molecules
N_TRIALS = 50


def _check_molecule(name: str) -> str:
    from ase.collections import g2
    from ase.data import chemical_symbols

    if name in g2.names or name in chemical_symbols[1:]:
        return name
    near = get_close_matches(name, g2.names, 1, 0.4)
    raise fault(
        Code.MOLECULE_UNKNOWN,
        f'{name!r} is neither a molecule of the G2 set of ASE nor an element',
        nearest=near[0] if near else None,
    )


class AdsorptionSettings(ComposedSettings):
    """Molecules on the surfaces of another entry."""

    kind: Literal['adsorption'] = 'adsorption'
    """Adsorption."""
    molecules: tuple[Annotated[str, AfterValidator(_check_molecule)], ...] = ()
    """Molecules by their names in ASE's G2 collection, as CO or CH3OH, or single atoms by element."""
    files: tuple[InputFile, ...] = ()
    """Files with further molecules."""
    sites: tuple[SiteName, ...] = ('ontop', 'bridge', 'hollow')
    """Kinds of site, by the number of surface atoms that are nearest: one, two, more."""
    surface_depth_A: PositiveFloat = 0.9
    """Atoms this far below the highest one are surface atoms too, unless another one is above them; stepped surfaces
    need more."""
    side: Literal['upper', 'lower', 'both'] = 'upper'
    """Side of the slab; with `both` each seed has its molecules on one side, and the sites of the lower side follow
    those of the upper one where the faces are not alike."""
    orientation: Literal['random', 'upright', 'flipped'] = 'random'
    """Turn molecules at random, leave them as they are, or put them upside down."""
    n_molecules: PositiveInt = 1
    """Molecules on each slab; those after the first go to random sites."""
    coverage: float | None = Field(default=None, gt=0, le=1)
    """Molecules per atom of the surface's top layer, in place of `n_molecules`."""
    height_factor: PositiveFloat = 1.0
    """Distance of the molecule's atoms to those of the slab, in sums of covalent radii, where they touch."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if not self.molecules and not self.files:
            raise fault(Code.VALUES_INCOMPLETE, 'give molecules or files')
        if self.coverage and self.n_molecules != 1:
            raise fault(Code.VALUES_EXCLUDE, 'give n_molecules or coverage, not both')
        return self

    def stream_content(self) -> dict[str, Any]:
        """Return what the random streams are derived from: the files' content, not their paths."""
        return {**super().stream_content(), 'files': [file_sha256(path) for path in self.files]}

    def elements(self) -> frozenset[str]:
        """Return the elements of the surface and of the molecules."""
        found = [atoms for _, atoms in load_molecules(self)]
        return super().elements() | {str(symbol) for atoms in found for symbol in atoms.symbols}


def load_molecules(settings: AdsorptionSettings) -> list[tuple[str, Atoms]]:
    """Return the molecules with their names: those of ASE's G2 set, single atoms, and those in files."""
    from ase.build import molecule
    from ase.collections import g2

    found = [(name, molecule(name) if name in g2.names else Atoms(name)) for name in settings.molecules]
    for path in settings.files:
        found += [(f'{file_sha256(path)[:8]}:{i}', atoms) for i, atoms in enumerate(read_structures(path))]
    return found


@dataclass(frozen=True)
class _Slab:
    """One side of a slab, turned upwards, with its distinct sites and all of them."""

    number: int
    side: str
    atoms: Atoms
    sites: list[Site]
    all_sites: list[Site]


class AdsorptionGenerator(ComposedGenerator):
    """Every molecule on every distinct site of every slab."""

    settings_class = AdsorptionSettings
    settings: AdsorptionSettings

    @cached_property
    def _molecules(self) -> list[tuple[str, Atoms]]:
        return load_molecules(self.settings)

    @cached_property
    def _slabs(self) -> list[_Slab]:
        """The sides of the slabs that can be listed, before they are repeated."""
        found = []
        for number in range(self.inner.n_parents() or 0):
            slab = self.inner_parent(number, make_rng(0, 'sites'), Requirements()).atoms
            sides = ('upper',) if self.settings.side == 'both' and has_like_faces(slab) else self._sides
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
        """Side of a slab, molecule and site of each parent, for slabs that can be listed."""
        return [
            (number, m, site)
            for number, slab in enumerate(self._slabs)
            for m, site in product(range(len(self._molecules)), range(len(slab.sites)))
        ]

    def n_parents(self) -> int | None:
        """Return the number of slabs, sites and molecules; None where something is drawn at random."""
        settings = self.settings
        listed = settings.orientation != 'random' and settings.n_molecules == 1 and settings.coverage is None
        return len(self._plan) if listed and self.inner.n_parents() is not None else None

    def default_n_seeds(self) -> int:
        """Return one seed of each molecule on each site, ten on surfaces that are drawn at random."""
        return (len(self._plan) or N_RANDOM_SEEDS) * self.settings.perturb.variants

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return a slab with its molecules."""
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
            # The sites of the slab before it was repeated are sites of the repeated one.
            first = listed.sites[site_number]
            others = repeat_sites(listed.all_sites, listed.atoms, slab)
        else:
            others = self._sites(slab, distinct=False)
            first = others[int(rng.integers(len(others)))]
        top = np.sum(slab.positions[:, 2] > slab.positions[:, 2].max() - 0.5)
        number = max(1, round(settings.coverage * top)) if settings.coverage else settings.n_molecules
        atoms = self._place(slab, molecule, [first, *others], number, rng)
        # The molecules reach into the vacuum, which stays as thick as it was.
        atoms.cell[2, 2] += max(0.0, atoms.positions[:, 2].max() - slab.positions[:, 2].max())
        if side == 'lower':
            atoms = upside_down(atoms)
        record = {
            'of': {'kind': settings.of.kind, **host.record},
            'molecule': name,
            'site': first.name,
            'side': side,
            'site_A': first.position[:2].tolist(),
            'n_molecules': number,
            'coverage': number / float(top),
            'orientation': settings.orientation,
        }
        return replace(host, atoms=atoms, record=record, repeatable=(False, False, False))

    def check(self, requirements: Requirements) -> None:
        """Refuse molecules that are larger than the slab can be made."""
        for number in range(len(self._molecules)):
            self._host(0, number, make_rng(0, 'check'), requirements)

    def _host(
        self, slab_number: int, molecule_number: int, rng: np.random.Generator, requirements: Requirements
    ) -> Parent:
        """Return a slab, repeated until the molecule and the space around it fit on it."""
        name, molecule = self._molecules[molecule_number]
        extent = float(np.ptp(molecule.positions, axis=0).max()) + CLEARANCE if len(molecule) > 1 else CLEARANCE
        wanted = Requirements(max(requirements.min_height_A, extent), requirements.max_atoms)
        host = self.inner_parent(slab_number, rng, wanted)
        if not host.atoms.pbc[:2].all():
            raise AutopipeError(
                Code.HOST_UNSUITABLE, f'{host.atoms.get_chemical_formula()} is no slab to put a molecule on'
            )
        widths = cell_heights(host.atoms)[:2]
        if widths.min() < extent:
            n_atoms = len(host.atoms) * int(np.prod(np.ceil(extent / widths)))
            raise AutopipeError(
                Code.CELL_TOO_SMALL,
                f'{name} with {CLEARANCE:g} Å around it takes {extent:.1f} Å, the slab is {widths.min():.1f} Å wide; '
                f'validation.max_atoms: {n_atoms + len(molecule)} lets it be repeated to that width',
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

    def _place(self, slab: Atoms, molecule: Atoms, sites: list[Site], number: int, rng: np.random.Generator) -> Atoms:
        """Return the slab with molecules, one on the first site, the others where they do not touch."""
        atoms = slab.copy()
        placed: list[Atoms] = []
        for _ in range(number):
            for _ in range(N_TRIALS):
                site = sites[int(rng.integers(len(sites)))] if placed else sites[0]
                added = _turn(molecule, self.settings.orientation, rng)
                _lower(added, slab, site, self.settings.height_factor)
                if all(_apart(added, other, slab) for other in placed):
                    break
            else:
                raise PhysicsViolationError(
                    'coverage', (), float(number), float(len(placed)),
                    f'{number} molecules {molecule.get_chemical_formula()} do not fit on '
                    f'{slab.get_chemical_formula()}; {len(placed)} did',
                )  # fmt: skip
            placed.append(added)
            atoms += added
        return atoms


def _turn(molecule: Atoms, orientation: str, rng: np.random.Generator) -> Atoms:
    """Return the molecule in its orientation; random ones are uniform over all rotations."""
    from scipy.spatial.transform import Rotation

    turned = Atoms(molecule.symbols, molecule.positions - molecule.positions.mean(axis=0))
    if orientation == 'flipped':
        turned.positions *= [1, -1, -1]
    elif orientation == 'random':
        turned.positions = Rotation.random(rng=rng).apply(turned.positions)
    return turned


def _lower(molecule: Atoms, slab: Atoms, site: Site, factor: float) -> None:
    """Put the molecule's lowest atom above the site and lower it until it touches the slab."""
    from ase.data import covalent_radii

    lowest = molecule.positions[int(molecule.positions[:, 2].argmin())]
    molecule.positions[:, :2] += site.position[:2] - lowest[:2]
    sums = factor * (covalent_radii[molecule.numbers][:, None] + covalent_radii[slab.numbers])
    vectors = molecule.positions[:, None, :2] - slab.positions[None, :, :2]
    shifts = [i * slab.cell.array[0, :2] + j * slab.cell.array[1, :2] for i in (-1, 0, 1) for j in (-1, 0, 1)]
    lateral = np.min([np.linalg.norm(_wrapped(vectors, slab) + shift, axis=2) for shift in shifts], axis=0)
    touching = (
        slab.positions[None, :, 2] + np.sqrt(np.maximum(sums**2 - lateral**2, 0)) - molecule.positions[:, None, 2]
    )
    molecule.positions[:, 2] += touching[lateral < sums].max(initial=slab.positions[:, 2].max() - lowest[2])


def _wrapped(vectors: np.ndarray, slab: Atoms) -> np.ndarray:
    """Return in-plane vectors less whole cell vectors."""
    plane = slab.cell.array[:2, :2]
    return np.asarray(vectors - np.round(vectors @ np.linalg.inv(plane)) @ plane)


def _apart(one: Atoms, other: Atoms, slab: Atoms) -> bool:
    """Return whether two molecules on a slab keep their distance."""
    from ase.data import covalent_radii

    sums = covalent_radii[one.numbers][:, None] + covalent_radii[other.numbers]
    vectors = one.positions[:, None] - other.positions[None]
    lateral = _wrapped(vectors[..., :2], slab)
    distances = np.sqrt((lateral**2).sum(axis=2) + vectors[..., 2] ** 2)
    return bool((distances > MOLECULE_FACTOR * sums).all())


VARIANT = AdsorptionGenerator
