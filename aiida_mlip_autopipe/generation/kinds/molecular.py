"""Liquids, solutions, electrolytes, gases and crystals of molecules."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.generation.base import Generator, GeneratorSettings, Parent, Requirements
from aiida_mlip_autopipe.generation.chemistry.molecules import MoleculeSettings, build_molecules
from aiida_mlip_autopipe.generation.crystals.molecular_crystals import (
    COMMON_SPACEGROUPS,
    MolecularCrystals,
    UnitCell,
    crystal_volume,
)
from aiida_mlip_autopipe.generation.particles.liquids import DISPERSION, Mixture, listed, rigid_bodies
from aiida_mlip_autopipe.generation.particles.packing import cubic_edge, pack
from aiida_mlip_autopipe.structures.densities import MOL_PER_CM3

N_RANDOM_SEEDS = 10
MIN_DEFAULT_MOLECULES = 32
N_SPACEGROUPS = 230


class MolecularSettings(GeneratorSettings):
    """Molecules at random positions and in random orientations, or random crystals of molecules."""

    kind: Literal['molecular'] = 'molecular'
    """Molecules at random positions and in random orientations, or random crystals of molecules."""
    molecules: tuple[MoleculeSettings, ...] = Field(min_length=1)
    """The molecules and ions with their amounts: counts for all, or mole fractions, or concentrations. In a crystal,
    the counts are those of the formula unit (1 by default)."""
    packing: Literal['random', 'crystal'] = 'random'
    """Molecules at random in a rectangular cell, or a random crystal with the symmetry of a space group."""
    density_g_per_cm3: PositiveFloat | None = None
    """Density in g/cm³ of the cell. By default, that of a crystal is estimated from the van der Waals radii."""
    box_A: PositiveFloat | tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None
    """Edge of a cubic cell, or the three edges of a rectangular cell, in Å, instead of the density."""
    n_molecules: PositiveInt | None = None
    """Total number of molecules, if they have no counts. The default is the smallest number, at least 32 if
    `max_atoms` allows them, for which the cell is wide enough for the calculator and can have the composition."""
    composition_tolerance: float = Field(default=0.1, gt=0, le=0.5)
    """Maximum relative deviation of a mole fraction after rounding to whole molecules."""
    charged: bool = False
    """Whether the cell may have a net charge."""
    contact_factor: float = Field(default=0.75, gt=0, le=1.2)
    """Minimum distance between atoms of different molecules after packing, divided by the sum of their van der Waals
    radii."""
    spacegroups: tuple[Annotated[int, Field(ge=1, le=N_SPACEGROUPS)], ...] = ()
    """Space groups of a crystal. One is drawn for each crystal; by default, from 14, 2, 19, 15, 4 and 61, those most
    frequent among organic crystals, if they allow `z_prime` and their cells have at most `validation.max_atoms`
    atoms."""
    z_prime: PositiveFloat = 1.0
    """Number of formula units in the asymmetric unit of a crystal (Z'). With 1, molecules are usually on
    general positions; with 0.5 they are on special positions such as centres of inversion."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        crystal = self.packing == 'crystal'
        useless = ('box_A', 'n_molecules', 'composition_tolerance') if crystal else ('spacegroups', 'z_prime')
        for name in useless:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise fault(Code.VALUES_EXCLUDE, f'{name} has no effect with packing: {self.packing}; leave it out')
        if crystal:
            self._check_formula_unit()
        else:
            self._check_amounts()
        return self

    def _check_formula_unit(self) -> None:
        if any(molecule.fraction or molecule.concentration_mol_per_L for molecule in self.molecules):
            raise fault(
                Code.VALUES_EXCLUDE,
                'the molecules of a crystal have no fraction or concentration; set count, the number in a formula unit',
            )

    def _check_amounts(self) -> None:
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

    def stream_content(self) -> dict[str, Any]:
        """Return the content from which the random streams are derived: the content of the files, not their paths."""
        return {**super().stream_content(), 'molecules': [molecule.content() for molecule in self.molecules]}

    def elements(self) -> frozenset[str]:
        """Return the elements of the molecules."""
        return frozenset(str(symbol) for atoms in build_molecules(self.molecules) for symbol in atoms.symbols)


class MolecularGenerator(Generator):
    """Packs molecules at random, or makes random crystals of them."""

    settings_class = MolecularSettings
    settings: MolecularSettings

    @cached_property
    def _mixture(self) -> Mixture:
        settings, molecules = self.settings, self.settings.molecules
        if settings.packing == 'crystal':
            molecules = tuple(one.model_copy(update={'count': one.count or 1}) for one in molecules)
        return Mixture(molecules, settings.density_g_per_cm3, charged=settings.charged)

    @cached_property
    def _crystals(self) -> MolecularCrystals:
        species = self._mixture.species
        for name, one in species.items():
            if len(one.atoms) == 1:
                raise AutopipeError(
                    Code.VALUE_INVALID, f'{name} is a single atom; for a crystal of atoms or ions, use kind: formula'
                )
        counts = [molecule.count or 1 for molecule in self._mixture.molecules]
        molecules = [one.atoms for one in species.values()]
        return MolecularCrystals(molecules, counts, self.settings.z_prime, self.settings.contact_factor)

    @cached_property
    def _unit_cells(self) -> tuple[list[UnitCell], dict[int, AutopipeError]]:
        """The cells of a crystal, and the error of each of the other space groups."""
        asked = self.settings.spacegroups
        found, impossible = self._crystals.unit_cells(dict.fromkeys(asked or COMMON_SPACEGROUPS))
        if impossible and (asked or not found):
            raise next(iter(impossible.values()))
        return found, impossible

    def default_n_seeds(self) -> int:
        """Return the number of seeds: ten packings or crystals."""
        return N_RANDOM_SEEDS * self.settings.perturb.variants

    def notes(self) -> list[str]:
        """Return what is left out, and a warning that most calculators lack dispersion."""
        notes = self._mixture.notes()
        if self.settings.packing == 'crystal':
            notes += self._describe_left_out()
        return [*notes, DISPERSION]

    def _describe_left_out(self) -> list[str]:
        """Return notes about the default space groups that are impossible or too large."""
        settings, errors = self.settings, self._unit_cells[1]
        large = [str(number) for number, error in errors.items() if error.code == Code.TOO_MANY_ATOMS]
        others = [str(number) for number, error in errors.items() if error.code != Code.TOO_MANY_ATOMS]
        notes = []
        if large:
            limit = f'validation.max_atoms ({settings.rules.max_atoms})'
            notes.append(f'space groups left out because of {limit}: {", ".join(large)}')
        if others:
            reason = f'z_prime: {settings.z_prime:g} is impossible for them'
            notes.append(f'space groups left out because {reason}: {", ".join(others)}')
        return notes

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return a random packing or a random crystal."""
        if self.settings.packing == 'crystal':
            return self._draw_crystal(rng)
        counts = self._choose_counts(requirements)
        self._mixture.check_size(counts)
        edges = self._choose_edges(counts, requirements)
        atoms = self._mixture.assemble(counts)
        packing = pack(rigid_bodies(atoms, self.settings.contact_factor), edges, rng)
        density = float(atoms.get_masses().sum() / np.prod(edges) / MOL_PER_CM3)
        if packing.scale < 1:
            raise AutopipeError(
                Code.DENSITY_IMPOSSIBLE,
                f'{listed(counts)} cannot be packed at {density:.4g} g/cm³; use a density of at most '
                f'{density * packing.density_factor:.3g} g/cm³, or a contact_factor of at most '
                f'{self.settings.contact_factor * packing.density_factor ** (1 / 3):.2f}',
            )
        atoms.set_cell(edges)
        atoms.positions = packing.positions
        record = {
            'molecules': self._mixture.describe(counts, float(atoms.get_volume())),
            'density_g_per_cm3': density,
        }
        return Parent(
            atoms,
            record,
            repeatable=(False, False, False),
            charge_allowed=self.settings.charged,
            molecular=True,
        )

    def _draw_crystal(self, rng: np.random.Generator) -> Parent:
        _ = self._mixture.composition  # refuses a net charge
        cells, _ = self._unit_cells
        unit = {molecule.label: molecule.count or 1 for molecule in self._mixture.molecules}
        if self.settings.density_g_per_cm3:
            volume = self._mixture.mass_u(unit) / (self.settings.density_g_per_cm3 * MOL_PER_CM3)
        else:
            volume = self._estimated_volume
        atoms, cell = self._crystals.draw(cells, volume, rng)
        counts = {name: count * cell.z for name, count in unit.items()}
        record = {
            'molecules': self._mixture.describe(counts, float(atoms.get_volume())),
            'density_g_per_cm3': float(atoms.get_masses().sum() / atoms.get_volume() / MOL_PER_CM3),
            'spacegroup': cell.spacegroup,
            'z': cell.z,
            'z_prime': self.settings.z_prime,
        }
        return Parent(atoms, record, charge_allowed=self.settings.charged, molecular=True)

    @cached_property
    def _estimated_volume(self) -> float:
        """The usual volume of a formula unit in a crystal in Å³."""
        molecules = self._mixture.molecules
        return sum((one.count or 1) * crystal_volume(self._mixture.species[one.label].atoms) for one in molecules)

    def _choose_counts(self, requirements: Requirements) -> dict[str, int]:
        settings, (fractions, volume) = self.settings, self._mixture.composition
        if settings.molecules[0].count is not None:
            return {molecule.label: molecule.count or 0 for molecule in settings.molecules}
        if settings.n_molecules:
            totals = range(settings.n_molecules, settings.n_molecules + 1)
        else:
            assert volume is not None  # the validator requires n_molecules with a box
            mean_size = sum(fraction * len(self._mixture.species[name].atoms) for name, fraction in fractions.items())
            largest = int(requirements.max_atoms / mean_size)
            # The rounded composition may have a slightly smaller volume.
            wide = int(np.ceil(requirements.min_width_A**3 / volume * (1 + 1e-6)))
            if wide > largest:
                raise AutopipeError(
                    Code.CELL_TOO_SMALL,
                    f'a cell that is {requirements.min_width_A:.2f} Å wide has {counted(wide, "molecule")}; set '
                    f'validation.max_atoms to at least {int(np.ceil(1.1 * wide * mean_size))}',
                )
            totals = range(max(wide, min(MIN_DEFAULT_MOLECULES, largest), 1), largest + 1)
        return self._mixture.choose_counts(totals, settings.composition_tolerance)

    def _choose_edges(self, counts: Mapping[str, int], requirements: Requirements) -> np.ndarray:
        """Return the edges of the cell in Å, (3,)."""
        settings = self.settings
        if settings.box_A is not None:
            edges = np.broadcast_to(np.asarray(settings.box_A, dtype=float), 3).copy()
        elif settings.density_g_per_cm3:
            edges = np.full(3, cubic_edge(self._mixture.mass_u(counts) / (settings.density_g_per_cm3 * MOL_PER_CM3)))
        else:
            volume = self._mixture.composition[1]
            assert volume is not None  # all molecules have concentrations
            edges = np.full(3, cubic_edge(sum(counts.values()) * volume))
        limit = requirements.min_width_A
        if edges.min() < limit * (1 - 1e-6):
            needed = int(np.ceil(sum(counts.values()) * (limit / edges.min()) ** 3))
            remedy = f'a box_A of at least {limit:.2f}' if settings.box_A else f'at least {needed} molecules'
            raise AutopipeError(
                Code.CELL_TOO_SMALL,
                f'the cell of {listed(counts)} is {edges.min():.2f} Å wide, and the calculator needs {limit:.2f} Å; '
                f'use {remedy}, lower validation.min_width_factor, or set validation.cell: as_given',
            )
        return edges


VARIANT = MolecularGenerator
