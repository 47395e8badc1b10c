"""The two slabs of an interface, each with one face at the interface."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.generation.surfaces.joining import is_layered
from aiida_mlip_autopipe.generation.surfaces.matching import Match
from aiida_mlip_autopipe.generation.surfaces.orientation import slab_directions, smallest_integers
from aiida_mlip_autopipe.generation.surfaces.slabs import Cut
from aiida_mlip_autopipe.generation.surfaces.superlattices import SurfaceLattice, surface_lattice


def reduced_formula(atoms: Atoms) -> str:
    """Return the formula of the composition with metals first, such as SrTiO3."""
    return format(atoms.symbols.formula.reduce()[0], 'metal')


@dataclass(frozen=True, eq=False)
class Face:
    """A slab, one face of which is at the interface: the upper one of a substrate, or the lower one of a film.

    Attributes
    ----------
    cut
        The slab.
    crystal
        The conventional cell of its crystal.
    charges_known
        Whether the formal charges are known. Those of metals and of pure elements are zero.
    """

    cut: Cut
    crystal: Atoms
    charges_known: bool

    @cached_property
    def lattice(self) -> SurfaceLattice:
        """The lattice in the plane."""
        return surface_lattice(self.cut.atoms)

    @cached_property
    def spacing_A(self) -> float:
        """The distance between the planes of the crystal on both sides of the cut, from its volume per atom."""
        volume = len(self.cut.atoms) * self.crystal.get_volume() / len(self.crystal)
        return float(volume / self.lattice.area_A2 - np.ptp(self.cut.atoms.positions[:, 2]))

    @cached_property
    def is_layered(self) -> bool:
        """Whether the crystal has layers parallel to the face, without bonds between them."""
        return is_layered(self.crystal, self.cut.atoms)

    @cached_property
    def directions(self) -> np.ndarray | None:
        """The vectors of the slab in units of the conventional cell (2, 3); None if it is a mirror image."""
        return slab_directions(self.cut.atoms, self.crystal, self.cut.miller)

    @property
    def has_charges(self) -> bool:
        """Whether the atoms have formal charges."""
        return bool(self.cut.atoms.get_initial_charges().any())

    def __str__(self) -> str:
        return f'{reduced_formula(self.cut.atoms)} ({" ".join(map(str, self.cut.miller))})'


@dataclass(frozen=True, eq=False)
class Pair:
    """The face of a film and that of a substrate."""

    film: Face
    substrate: Face

    @property
    def is_bonded(self) -> bool:
        """Whether atoms of both sides can form bonds, since neither crystal has layers parallel to the interface."""
        return not (self.film.is_layered or self.substrate.is_layered)

    @property
    def spacing_A(self) -> float:
        """The mean spacing of the planes of both crystals at the cuts."""
        return (self.film.spacing_A + self.substrate.spacing_A) / 2

    @property
    def keeps_charges(self) -> bool:
        """Whether the formal charges of both sides are known."""
        return self.film.charges_known and self.substrate.charges_known

    def n_repeated(self, match: Match, min_width_A: float) -> int:
        """Return the number of atoms after the common cell is repeated to a perpendicular width."""
        widths = match.area_A2 / np.linalg.norm(match.cell[::-1], axis=1)
        n_atoms = match.n_film * len(self.film.cut.atoms) + match.n_substrate * len(self.substrate.cut.atoms)
        return n_atoms * int(np.prod(np.maximum(np.ceil(min_width_A / widths - 1e-9), 1)))

    def parallel_directions(self, match: Match) -> dict[str, list[int]] | None:
        """Return the direction of each crystal along the first vector of the common cell, as [u, v, w]."""
        if self.film.directions is None or self.substrate.directions is None:
            return None
        return {
            'film': smallest_integers(match.film[0] @ self.film.directions),
            'substrate': smallest_integers(match.substrate[0] @ self.substrate.directions),
        }

    def __str__(self) -> str:
        return f'{self.film} on {self.substrate}'


def describe_side(side: Face, steps: np.ndarray, strain: np.ndarray) -> dict[str, Any]:
    """Return the part of the record of one side that follows from its slab and the common cell."""
    cut, principal = side.cut, np.linalg.eigvalsh(strain)
    return {
        'miller': list(cut.miller),
        'shift': cut.shift,
        'upside_down': cut.upside_down,
        'polar': cut.polar,
        'surface_cell_A': tidy(side.lattice.cell),
        'transformation': steps.tolist(),
        'area_A2': round(float(np.linalg.det(steps))) * side.lattice.area_A2,
        'strain': tidy(strain),
        'principal_strains': tidy(principal),
        'mean_absolute_strain': float(np.abs(principal).mean()),
    }


def tidy(values: np.ndarray | float) -> Any:
    """Return numbers without rounding errors or negative zeros, which differ between processors."""
    return (np.round(values, 10) + 0.0).tolist()
