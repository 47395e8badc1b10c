"""Liquids, solutions, electrolytes and gases: molecules packed at random at a given density."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.generation.base import Generator, GeneratorSettings, Parent, Requirements
from aiida_mlip_autopipe.generation.chemistry.counts import CHARGE_TOLERANCE, choose_counts
from aiida_mlip_autopipe.generation.chemistry.molecules import (
    PER_MOL_L,
    MoleculeSettings,
    mole_fractions,
)
from aiida_mlip_autopipe.generation.contacts import van_der_waals_radii
from aiida_mlip_autopipe.generation.files.reading import describe_dropped
from aiida_mlip_autopipe.generation.limits import check_size, check_time
from aiida_mlip_autopipe.generation.particles.packing import Bodies, cubic_edge, pack
from aiida_mlip_autopipe.structures.densities import MOL_PER_CM3

N_RANDOM_SEEDS = 10
MIN_DEFAULT_MOLECULES = 32


class MolecularSettings(GeneratorSettings):
    """Molecules at random positions and in random orientations."""

    kind: Literal['molecular'] = 'molecular'
    """Molecules at random positions and in random orientations."""
    molecules: tuple[MoleculeSettings, ...] = Field(min_length=1)
    """The molecules and ions with their amounts: counts for all, or mole fractions, or concentrations."""
    density_g_per_cm3: PositiveFloat | None = None
    """Density in g/cm³ of the cubic cell."""
    box_A: PositiveFloat | tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None
    """Edge of a cubic cell, or the three edges of a rectangular cell, in Å, instead of the density."""
    n_molecules: PositiveInt | None = None
    """Total number of molecules, if they have no counts. The default is the smallest number, of at least 32 if
    `max_atoms` allows them, for which the cell is wide enough for the calculator and can have the composition."""
    composition_tolerance: float = Field(default=0.1, gt=0, le=0.5)
    """Maximum relative deviation of a mole fraction after rounding to whole molecules."""
    charged: bool = False
    """Whether the cell may have a net charge."""
    contact_factor: float = Field(default=0.75, gt=0, le=1.2)
    """Distance to which atoms of different molecules are moved apart, divided by the sum of their van der Waals
    radii."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        counted = [molecule.count is not None for molecule in self.molecules]
        if any(counted) and not all(counted):
            raise fault(Code.VALUES_INCOMPLETE, 'all molecules must have a count, or none')
        if all(counted) and self.n_molecules:
            raise fault(
                Code.VALUES_EXCLUDE, 'n_molecules is the sum of the counts; set n_molecules or counts, not both'
            )
        if self.density_g_per_cm3 and self.box_A:
            raise fault(Code.VALUES_EXCLUDE, 'set density_g_per_cm3 or box_A, not both')
        dilute = all(molecule.concentration_mol_per_L for molecule in self.molecules)
        if not self.density_g_per_cm3 and not self.box_A and not dilute:
            raise fault(Code.VALUES_INCOMPLETE, 'set density_g_per_cm3 or box_A')
        if self.box_A and not all(counted) and not self.n_molecules:
            raise fault(Code.VALUES_INCOMPLETE, 'box_A needs n_molecules, or a count of each molecule')
        return self

    def stream_content(self) -> dict[str, Any]:
        """Return the content from which the random streams are derived: the content of the files, not their paths."""
        return {**super().stream_content(), 'molecules': [molecule.content() for molecule in self.molecules]}

    def elements(self) -> frozenset[str]:
        """Return the elements of the molecules."""
        return frozenset(str(symbol) for molecule in self.molecules for symbol in molecule.build().symbols)


@dataclass(frozen=True, eq=False)
class _Species:
    """A kind of molecule."""

    atoms: Atoms
    mass_u: float
    charge: float


class MolecularGenerator(Generator):
    """Packs molecules at random."""

    settings_class = MolecularSettings
    settings: MolecularSettings

    @cached_property
    def _species(self) -> dict[str, _Species]:
        found = {}
        for molecule in self.settings.molecules:
            atoms = molecule.build()
            charge = round(float(atoms.get_initial_charges().sum()), 6)
            if molecule.label in found:
                raise AutopipeError(Code.VALUE_INVALID, f'the molecule {molecule.label} is listed more than once')
            found[molecule.label] = _Species(atoms, float(atoms.get_masses().sum()), charge)
        return found

    @cached_property
    def _composition(self) -> tuple[dict[str, float], float | None]:
        """The mole fraction of each molecule, and the volume per molecule in Å³ unless a box determines it."""
        settings, species = self.settings, self._species
        total = sum(molecule.count or 0 for molecule in settings.molecules) or 1
        masses = [one.mass_u for one in species.values()]
        if settings.molecules[0].count is not None:
            found = [(molecule.count or 0) / total for molecule in settings.molecules]
            volume = None
        else:
            found, volume = mole_fractions(settings.molecules, masses, settings.density_g_per_cm3)
        if settings.density_g_per_cm3:
            mean = float(np.dot(found, masses))
            volume = mean / (settings.density_g_per_cm3 * MOL_PER_CM3)
        fractions = dict(zip(species, found, strict=True))
        charge = total * sum(fraction * species[name].charge for name, fraction in fractions.items())
        if abs(charge) > CHARGE_TOLERANCE and not settings.charged:
            ions = ', '.join(f'{name} {one.charge:+g}' for name, one in species.items() if one.charge)
            raise AutopipeError(
                Code.CHARGE_UNBALANCED,
                f'the molecules {ions} leave a charge of {charge:+.4g} e{"" if total > 1 else " per molecule"}; '
                'change the amounts, or set charged: true',
            )
        return fractions, volume

    def default_n_seeds(self) -> int:
        """Return the number of seeds: ten packings."""
        return N_RANDOM_SEEDS * self.settings.perturb.variants

    def notes(self) -> list[str]:
        """Return which properties are not kept, and a warning that most calculators lack dispersion."""
        listed = ((one.file.name if one.file else one.label, one.build()) for one in self.settings.molecules)
        return [
            *describe_dropped(listed),
            'molecules attract each other by dispersion, which most calculators lack, so these seeds are explored at '
            'constant volume (NVT) unless exploration.ensemble is npt; mace adds dispersion with dispersion: true',
        ]

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return a random packing."""
        counts = self._choose_counts(requirements)
        n_atoms = sum(count * len(self._species[name].atoms) for name, count in counts.items())
        check_size(n_atoms, f'{sum(counts.values())} molecules')
        edges = self._choose_edges(counts, requirements)
        order = [name for name, count in counts.items() for _ in range(count)]
        atoms = Atoms(pbc=True)
        for number, name in enumerate(order, start=1):
            check_time()
            molecule = self._species[name].atoms.copy()
            molecule.set_tags(number)
            atoms += molecule
        numbers = np.unique(atoms.numbers)
        radii = self.settings.contact_factor * van_der_waals_radii()[numbers]
        bodies = Bodies(
            [self._species[name].atoms.positions for name in order],
            [np.searchsorted(numbers, self._species[name].atoms.numbers) for name in order],
            radii[:, None] + radii,
        )
        packing = pack(bodies, edges, rng)
        density = float(atoms.get_masses().sum() / np.prod(edges) / MOL_PER_CM3)
        if packing.scale < 1:
            raise AutopipeError(
                Code.DENSITY_IMPOSSIBLE,
                f'{_listed(counts)} do not fit at {density:.4g} g/cm³; use a density of at most '
                f'{density * packing.density_factor:.3g} g/cm³, or a contact_factor of at most '
                f'{self.settings.contact_factor * packing.density_factor ** (1 / 3):.2f}',
            )
        atoms.set_cell(edges)
        atoms.positions = packing.positions
        volume = float(atoms.get_volume())
        record = {
            'molecules': [
                {
                    'molecule': name,
                    'formula': str(self._species[name].atoms.symbols),
                    'count': count,
                    'charge': self._species[name].charge,
                    'concentration_mol_per_L': count / volume / PER_MOL_L,
                }
                for name, count in counts.items()
            ],
            'density_g_per_cm3': density,
        }
        return Parent(
            atoms,
            record,
            repeatable=(False, False, False),
            charge_allowed=self.settings.charged,
            molecular=True,
        )

    def _choose_counts(self, requirements: Requirements) -> dict[str, int]:
        settings, (fractions, volume) = self.settings, self._composition
        if settings.molecules[0].count is not None:
            return {molecule.label: molecule.count or 0 for molecule in settings.molecules}
        if settings.n_molecules:
            totals = range(settings.n_molecules, settings.n_molecules + 1)
        else:
            assert volume is not None  # the validator requires n_molecules with a box
            mean_size = sum(fraction * len(self._species[name].atoms) for name, fraction in fractions.items())
            largest = int(requirements.max_atoms / mean_size)
            # The rounded composition may have a slightly smaller volume.
            wide = int(np.ceil(requirements.min_width_A**3 / volume * (1 + 1e-6)))
            if wide > largest:
                raise AutopipeError(
                    Code.CELL_TOO_SMALL,
                    f'a cell that is {requirements.min_width_A:.2f} Å wide has {wide} molecules; set '
                    f'validation.max_atoms to at least {int(np.ceil(1.1 * wide * mean_size))}',
                )
            totals = range(max(wide, min(MIN_DEFAULT_MOLECULES, largest), 1), largest + 1)
        charges = {} if settings.charged else {name: one.charge for name, one in self._species.items()}
        return choose_counts(fractions, totals, settings.composition_tolerance, charges, 'molecules')

    def _choose_edges(self, counts: dict[str, int], requirements: Requirements) -> np.ndarray:
        """Return the edges of the cell in Å, (3,)."""
        settings = self.settings
        if settings.box_A is not None:
            edges = np.broadcast_to(np.asarray(settings.box_A, dtype=float), 3).copy()
        elif settings.density_g_per_cm3:
            mass = sum(count * self._species[name].mass_u for name, count in counts.items())
            edges = np.full(3, cubic_edge(mass / (settings.density_g_per_cm3 * MOL_PER_CM3)))
        else:
            volume = self._composition[1]
            assert volume is not None  # all molecules have concentrations
            edges = np.full(3, cubic_edge(sum(counts.values()) * volume))
        limit = requirements.min_width_A
        if edges.min() < limit * (1 - 1e-6):
            needed = int(np.ceil(sum(counts.values()) * (limit / edges.min()) ** 3))
            remedy = f'a box_A of at least {limit:.2f}' if settings.box_A else f'at least {needed} molecules'
            raise AutopipeError(
                Code.CELL_TOO_SMALL,
                f'the cell of {_listed(counts)} is {edges.min():.2f} Å wide, and the calculator needs {limit:.2f} Å; '
                f'use {remedy}, lower validation.min_width_factor, or set validation.cell: as_given',
            )
        return edges


def _listed(counts: dict[str, int]) -> str:
    return ', '.join(f'{count} {name}' for name, count in counts.items())


VARIANT = MolecularGenerator
