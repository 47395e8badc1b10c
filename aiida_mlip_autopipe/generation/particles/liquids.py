"""Liquids and gases: the numbers of molecules of a composition, and their random packing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.generation.chemistry.counts import CHARGE_TOLERANCE, choose_counts
from aiida_mlip_autopipe.generation.chemistry.molecules import (
    PER_MOL_L,
    MoleculeSettings,
    build_molecules,
    mole_fractions,
)
from aiida_mlip_autopipe.generation.contacts import van_der_waals_radii
from aiida_mlip_autopipe.generation.files.reading import describe_dropped
from aiida_mlip_autopipe.generation.limits import check_size, check_time
from aiida_mlip_autopipe.generation.particles.packing import Bodies
from aiida_mlip_autopipe.structures.densities import MOL_PER_CM3

DISPERSION = (
    'molecules attract each other through dispersion, which most calculators lack, so these seeds are explored at '
    'constant volume (NVT) unless exploration.ensemble is npt; mace adds dispersion with dispersion: true'
)


@dataclass(frozen=True, eq=False)
class Species:
    """A kind of molecule."""

    atoms: Atoms
    mass_u: float
    charge: float


class Mixture:
    """The molecules of a liquid, a gas or a crystal, and their amounts.

    Parameters
    ----------
    molecules
        The molecules and their amounts.
    density_g_per_cm3
        Density, if it is known.
    charged
        Whether a net charge is allowed.
    """

    def __init__(self, molecules: Sequence[MoleculeSettings], density_g_per_cm3: float | None, *, charged: bool):
        self.molecules, self.density, self.charged = molecules, density_g_per_cm3, charged

    @cached_property
    def species(self) -> dict[str, Species]:
        """The molecules by their labels."""
        found = {}
        for molecule, atoms in zip(self.molecules, build_molecules(self.molecules), strict=True):
            charge = round(float(atoms.get_initial_charges().sum()), 6)
            if molecule.label in found:
                raise AutopipeError(Code.VALUE_INVALID, f'the molecule {molecule.label} is listed more than once')
            found[molecule.label] = Species(atoms, float(atoms.get_masses().sum()), charge)
        return found

    @cached_property
    def composition(self) -> tuple[dict[str, float], float | None]:
        """The mole fraction of each molecule, and the volume per molecule in Å³ unless a box determines it."""
        species = self.species
        total = sum(molecule.count or 0 for molecule in self.molecules) or 1
        masses = [one.mass_u for one in species.values()]
        if self.molecules[0].count is not None:
            found = [(molecule.count or 0) / total for molecule in self.molecules]
            volume = None
        else:
            found, volume = mole_fractions(self.molecules, masses, self.density)
        if self.density:
            volume = float(np.dot(found, masses)) / (self.density * MOL_PER_CM3)
        fractions = dict(zip(species, found, strict=True))
        charge = total * sum(fraction * species[name].charge for name, fraction in fractions.items())
        if abs(charge) > CHARGE_TOLERANCE and not self.charged:
            ions = ', '.join(f'{name} {one.charge:+g}' for name, one in species.items() if one.charge)
            raise AutopipeError(
                Code.CHARGE_UNBALANCED,
                f'the molecules {ions} leave a charge of {charge:+.4g} e{"" if total > 1 else " per molecule"}; '
                'change the amounts, or set charged: true',
            )
        return fractions, volume

    def choose_counts(self, totals: Iterable[int], tolerance: float) -> dict[str, int]:
        """Return the numbers of the molecules for the first total number that can have the composition."""
        charges = {} if self.charged else {name: one.charge for name, one in self.species.items()}
        return choose_counts(self.composition[0], totals, tolerance, charges, 'molecules')

    def mass_u(self, counts: Mapping[str, int]) -> float:
        """Return the total mass in u of the given numbers of molecules."""
        return float(sum(count * self.species[name].mass_u for name, count in counts.items()))

    def check_size(self, counts: Mapping[str, int]) -> None:
        """Refuse numbers of molecules that have too many atoms."""
        n_atoms = sum(count * len(self.species[name].atoms) for name, count in counts.items())
        check_size(n_atoms, counted(sum(counts.values()), 'molecule'))

    def assemble(self, counts: Mapping[str, int]) -> Atoms:
        """Return molecules, one after another at the origin. Their tags number them from 1."""
        atoms = Atoms(pbc=True)
        order = [name for name, count in counts.items() for _ in range(count)]
        for number, name in enumerate(order, start=1):
            check_time()
            molecule = self.species[name].atoms.copy()
            molecule.set_tags(number)
            atoms += molecule
        return atoms

    def describe(self, counts: Mapping[str, int], volume_A3: float) -> list[dict[str, Any]]:
        """Return the record of the molecules in the given volume in Å³."""
        return [
            {
                'molecule': name,
                'formula': str(self.species[name].atoms.symbols),
                'count': count,
                'charge': self.species[name].charge,
                'concentration_mol_per_L': count / volume_A3 / PER_MOL_L,
            }
            for name, count in counts.items()
        ]

    def notes(self) -> list[str]:
        """Return which properties of the molecules are not kept."""
        return describe_dropped((one.file.name if one.file else one.label, one.build()) for one in self.molecules)


def rigid_bodies(atoms: Atoms, contact_factor: float) -> Bodies:
    """Return molecules, which the tags of the atoms number from 1, as bodies to pack.

    Parameters
    ----------
    atoms
        The molecules, one after another.
    contact_factor
        Distance to which atoms of different molecules are moved apart, divided by the sum of their van der Waals radii.
    """
    numbers = np.unique(atoms.numbers)
    radii = contact_factor * van_der_waals_radii()[numbers]
    starts = np.flatnonzero(np.diff(atoms.get_tags())) + 1
    return Bodies(
        np.split(atoms.positions, starts),
        np.split(np.searchsorted(numbers, atoms.numbers), starts),
        radii[:, None] + radii,
    )


def listed(counts: Mapping[str, int]) -> str:
    """Return numbers of molecules as text, such as 4 CH3OH, 28 H2O."""
    return ', '.join(f'{count} {name}' for name, count in counts.items())
