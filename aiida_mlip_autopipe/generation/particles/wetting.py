"""A liquid between slabs: molecules packed at a given density between a slab and its periodic image."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.generation.chemistry.molecules import MoleculeSettings
from aiida_mlip_autopipe.generation.contacts import van_der_waals_radii
from aiida_mlip_autopipe.generation.limits import check_size
from aiida_mlip_autopipe.generation.particles.liquids import DISPERSION, Mixture, listed, rigid_bodies
from aiida_mlip_autopipe.generation.particles.packing import pack_layer
from aiida_mlip_autopipe.structures.densities import MOL_PER_CM3

MAX_DEVIATION = 0.1  # of the thickness, which follows from whole molecules and the density


class LiquidSettings(Settings):
    """A liquid between slabs."""

    molecules: tuple[MoleculeSettings, ...] = Field(min_length=1)
    """The molecules and ions with their mole fractions or concentrations, as for `molecular`. Their numbers follow from
    the density, the thickness and the area of the slab."""
    density_g_per_cm3: PositiveFloat | None = None
    """Density in g/cm³. It may be omitted if all molecules have a concentration."""
    thickness_A: float = Field(default=15.0, ge=5)
    """Thickness of the liquid in Å, including half of the gap at each face. It is changed by at most 10 %, so that a
    whole number of molecules gives the density."""
    composition_tolerance: float = Field(default=0.1, gt=0, le=0.5)
    """Maximum relative deviation of a mole fraction after rounding to whole molecules."""
    contact_factor: float = Field(default=0.75, gt=0, le=1.2)
    """Minimum distance between atoms of different molecules after packing, divided by the sum of their van der Waals
    radii."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if any(molecule.count for molecule in self.molecules):
            raise fault(
                Code.VALUES_EXCLUDE,
                'the number of molecules follows from thickness_A; use fraction or concentration_mol_per_L, not count',
            )
        dilute = all(molecule.concentration_mol_per_L for molecule in self.molecules)
        if not self.density_g_per_cm3 and not dilute:
            raise fault(Code.VALUES_INCOMPLETE, 'set density_g_per_cm3 of the liquid')
        return self

    def stream_content(self) -> dict[str, Any]:
        """Return the content from which the random streams are derived: the content of files, not their paths."""
        content = self.model_dump(mode='json', exclude_defaults=True)
        return {**content, 'molecules': [molecule.content() for molecule in self.molecules]}

    def elements(self) -> frozenset[str]:
        """Return the elements of the molecules."""
        return frozenset(str(symbol) for molecule in self.molecules for symbol in molecule.build().symbols)


class LiquidLayer:
    """Fills the vacuum of a slab with a liquid, so that it touches both faces of the slab.

    Parameters
    ----------
    liquid
        The liquid.
    gap_A
        Distance between the outermost atoms of the slab and the nearest atoms of the liquid; None for the contact
        distance of the largest atoms.
    """

    def __init__(self, liquid: LiquidSettings, gap_A: float | None):
        self.liquid, self.gap_A = liquid, gap_A
        self.mixture = Mixture(liquid.molecules, liquid.density_g_per_cm3, charged=False)

    def notes(self) -> list[str]:
        """Return which properties are not kept, and a warning that most calculators lack dispersion."""
        return [*self.mixture.notes(), DISPERSION]

    def wet(self, slab: Atoms, rng: np.random.Generator) -> tuple[Atoms, dict[str, Any]]:
        """Return a slab with the liquid, and the record of the liquid.

        The atoms of the slab come first. Their tags are 0, and those of the other atoms number the molecules from 1.

        Parameters
        ----------
        slab
            The slab. Its third cell vector is along z.
        rng
            Source of all random numbers.

        Raises
        ------
        AutopipeError
            If the liquid does not fit.
        """
        area_A2 = float(np.linalg.norm(np.cross(*slab.cell.array[:2])))
        counts, gap_A = self._choose_counts(area_A2), self._gap(slab)
        volume = self._volume(counts)
        thickness_A = volume / area_A2
        liquid_atoms = self._pack(counts, slab, thickness_A - gap_A, rng)
        atoms = self._join(slab, liquid_atoms, gap_A, thickness_A)
        liquid = {
            'molecules': self.mixture.describe(counts, volume),
            'density_g_per_cm3': self.mixture.mass_u(counts) / volume / MOL_PER_CM3,
            'thickness_A': thickness_A,
        }
        return atoms, {'liquid': liquid, 'area_A2': area_A2, 'gap_A': gap_A, 'n_substrate': len(slab)}

    def _choose_counts(self, area_A2: float) -> dict[str, int]:
        """Return the numbers of molecules with which the thickness is nearest to that of the settings."""
        volume = self.mixture.composition[1]
        assert volume is not None  # the validator requires a density or concentrations
        ideal = area_A2 * self.liquid.thickness_A / volume
        lowest, highest = int(np.ceil((1 - MAX_DEVIATION) * ideal)), int((1 + MAX_DEVIATION) * ideal)
        if highest < max(lowest, 1):
            raise AutopipeError(
                Code.CELL_TOO_SMALL,
                f'the liquid has only {ideal:.2g} molecules in {area_A2:.0f} Å²; use a larger liquid.thickness_A, '
                'or validation.min_width_factor',
            )
        totals = sorted(range(max(lowest, 1), highest + 1), key=lambda total: (round(abs(total - ideal), 6), total))
        return self.mixture.choose_counts(totals, self.liquid.composition_tolerance)

    def _volume(self, counts: dict[str, int]) -> float:
        """Return the volume of the liquid in Å³."""
        if self.liquid.density_g_per_cm3:
            return self.mixture.mass_u(counts) / (self.liquid.density_g_per_cm3 * MOL_PER_CM3)
        volume = self.mixture.composition[1]
        assert volume is not None  # all molecules have concentrations
        return sum(counts.values()) * volume

    def _gap(self, slab: Atoms) -> float:
        if self.gap_A is not None:
            return self.gap_A
        radii = van_der_waals_radii()
        largest = max(radii[one.atoms.numbers].max() for one in self.mixture.species.values())
        return self.liquid.contact_factor * float(radii[slab.numbers].max() + largest)

    def _pack(self, counts: dict[str, int], slab: Atoms, height_A: float, rng: np.random.Generator) -> Atoms:
        """Return the liquid between z = 0 and a height."""
        liquid = self.liquid
        if height_A <= 0:
            raise AutopipeError(
                Code.OUT_OF_RANGE,
                f'liquid.thickness_A: {liquid.thickness_A:g} is too small, because half of the gap belongs to the '
                f'liquid at each face; use a thickness that is {-height_A:.2g} Å larger, or a smaller gap_A',
            )
        n_atoms = sum(count * len(self.mixture.species[name].atoms) for name, count in counts.items())
        check_size(
            len(slab) + n_atoms,
            f'a slab of {counted(len(slab), "atom")} with {counted(sum(counts.values()), "molecule")}',
        )
        atoms = self.mixture.assemble(counts)
        bodies = rigid_bodies(atoms, liquid.contact_factor)
        packing = pack_layer(bodies, slab.cell.array[:2, :2], height_A, rng)
        if packing.scale < 1:
            raise AutopipeError(
                Code.DENSITY_IMPOSSIBLE,
                f'{listed(counts)} cannot be packed between the slabs; use a lower density, a larger '
                'liquid.thickness_A, or a liquid.contact_factor of at most '
                f'{liquid.contact_factor * packing.density_factor ** (1 / 3):.2f}',
            )
        atoms.positions = packing.positions
        return atoms

    def _join(self, slab: Atoms, liquid: Atoms, gap_A: float, thickness_A: float) -> Atoms:
        """Return the liquid above the slab, up to the periodic image of the slab."""
        heights = slab.positions[:, 2]
        joined = slab.copy()
        joined.set_tags(0)
        joined.positions[:, 2] += gap_A / 2 - heights.min()
        above = liquid.copy()
        above.positions[:, 2] += joined.positions[:, 2].max() + gap_A
        joined.cell[2] = [0, 0, float(np.ptp(heights)) + gap_A + thickness_A]
        return joined + above
