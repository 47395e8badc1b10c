"""Random molecular crystals: rigid molecules with the symmetry of a space group, placed by pyxtal."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, PhysicsViolationError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.generation.contacts import check_contacts, van_der_waals_radii
from aiida_mlip_autopipe.generation.limits import check_size, check_time, show_progress

# The most frequent space groups of organic crystals: P2_1/c, P-1, P2_12_12_1, C2/c, P2_1 and Pbca (A. J. C. Wilson,
# V. L. Karen, A. Mighell, International Tables for Crystallography C, 2006, ch. 9.7).
COMMON_SPACEGROUPS = (14, 2, 19, 15, 4, 61)
# Volume of the molecules, as spheres with their van der Waals radii, divided by that of the crystal: 0.65 to 0.77 in
# most crystals (A. I. Kitaigorodskii, Molecular Crystals and Molecules, 1973, ch. 1).
PACKING_COEFFICIENT = 0.7
GRID_STEP_A = 0.1
UNKNOWN_RADIUS_A = 2.0
SYMMETRY_TOLERANCE_A = 0.01  # of the symmetry that a molecule on a special position needs
N_TRIALS = 20
Z_TOLERANCE = 0.01  # relative, so that 0.333 is a third
# pyxtal multiplies its distances from H to N, O and F by this factor.
HYDROGEN_BOND_FACTOR = 0.9


def crystal_volume(molecule: Atoms) -> float:
    """Return the usual volume of a molecule in a crystal in Å³, from its van der Waals radii (in ASE)."""
    from ase.data import vdw_radii

    radii = np.where(np.isfinite(vdw_radii), vdw_radii, UNKNOWN_RADIUS_A)[molecule.numbers]
    return _filled_volume(molecule, radii) / PACKING_COEFFICIENT


def _filled_volume(molecule: Atoms, radii: np.ndarray) -> float:
    """Return the volume of the union of spheres with radii in Å (n,) around the atoms, on a grid."""
    low = (molecule.positions - radii[:, None]).min(axis=0)
    high = (molecule.positions + radii[:, None]).max(axis=0)
    axes = [np.arange(start, stop, GRID_STEP_A) for start, stop in zip(low, high, strict=True)]
    inside = np.zeros([len(axis) for axis in axes], dtype=bool)
    for position, radius in zip(molecule.positions, radii, strict=True):
        x, y, z = (np.square(axis - value) for axis, value in zip(axes, position, strict=True))
        inside |= x[:, None, None] + y[:, None] + z < radius**2
    return float(inside.sum() * GRID_STEP_A**3)


@dataclass(frozen=True)
class UnitCell:
    """A space group, and the number of formula units in its conventional cell (Z)."""

    spacegroup: int
    z: int


class MolecularCrystals:
    """The random crystals of a formula unit of molecules.

    Parameters
    ----------
    molecules
        The kinds of molecules, each of at least two atoms.
    counts
        Number of each of them in the formula unit.
    z_prime
        Number of formula units in the asymmetric unit.
    contact_factor
        Minimum distance between atoms of different molecules, divided by the sum of their van der Waals radii.
    """

    def __init__(self, molecules: Sequence[Atoms], counts: Sequence[int], z_prime: float, contact_factor: float):
        self.molecules, self.counts, self.z_prime = molecules, counts, z_prime
        self.contact_factor = contact_factor

    def unit_cells(self, spacegroups: Iterable[int]) -> tuple[list[UnitCell], dict[int, AutopipeError]]:
        """Return the possible cells, and the error of each of the other space groups.

        The code of an error is `TOO_MANY_ATOMS` or `SPACEGROUP_IMPOSSIBLE`.

        Raises
        ------
        AutopipeError
            If pyxtal is not installed, or if even the smallest cell has too many atoms.
        """
        if find_spec('pyxtal') is None:
            raise AutopipeError(
                Code.PACKAGE_MISSING, 'molecular crystals need pyxtal: install aiida-mlip-autopipe[generation]'
            )
        from pyxtal.symmetry import Group

        numbers = list(spacegroups)
        # The search for positions would take too long for very many molecules.
        smallest = min(len(Group(number)[0]) for number in numbers)
        check_size(self._n_atoms * self.z_prime * smallest, 'the smallest cell of the spacegroups')
        found, impossible = [], {}
        for number in numbers:
            try:
                found.append(self._unit_cell(number))
            except AutopipeError as error:
                if error.code not in (Code.TOO_MANY_ATOMS, Code.SPACEGROUP_IMPOSSIBLE):
                    raise
                impossible[number] = error
        return found, impossible

    def _unit_cell(self, number: int) -> UnitCell:
        from pyxtal.symmetry import Group

        group = Group(number)
        multiplicity = len(group[0])
        z = round(self.z_prime * multiplicity)
        if abs(z - self.z_prime * multiplicity) > Z_TOLERANCE * z or not z:
            raise self._impossible(
                number,
                f'its cell has {counted(multiplicity, "asymmetric unit")}, so Z would be '
                f'{self.z_prime * multiplicity:.4g}',
            )
        check_size(self._n_atoms * z, f'space group {number} in spacegroups')
        for molecule, count, model in zip(self.molecules, self.counts, self._models(0), strict=True):
            if not _fits(model, group, count * z):
                positions = f'the positions for {counted(count * z, "molecule")} in the cell'
                raise self._impossible(number, f'{molecule.symbols} lacks the symmetry of {positions}')
        return UnitCell(number, z)

    def _impossible(self, number: int, reason: str) -> AutopipeError:
        return AutopipeError(
            Code.SPACEGROUP_IMPOSSIBLE,
            f'space group {number} is impossible with z_prime: {self.z_prime:g}: {reason}; change z_prime or '
            'spacegroups',
        )

    def draw(
        self, cells: Sequence[UnitCell], unit_volume_A3: float, rng: np.random.Generator
    ) -> tuple[Atoms, UnitCell]:
        """Return a random crystal, whose tags number the molecules from 1, and its cell.

        The method is described by S. Fredericks et al., Comput. Phys. Commun. 261, 107810 (2021).

        Parameters
        ----------
        cells
            The possible cells. One is drawn in each trial.
        unit_volume_A3
            Volume of a formula unit in Å³.
        rng
            Source of all random numbers.

        Raises
        ------
        AutopipeError
            If the molecules do not fit in any of `N_TRIALS` trials.
        """
        if unit_volume_A3 > self._smallest_volume:
            for trial in range(N_TRIALS):
                show_progress(f'molecular crystal, trial {trial + 1} of {N_TRIALS}')
                cell = cells[int(rng.integers(len(cells)))]
                atoms = self._try(cell, cell.z * unit_volume_A3, np.random.default_rng(int(rng.integers(2**63))))
                if atoms is not None:
                    return atoms, cell
        raise AutopipeError(
            Code.DENSITY_IMPOSSIBLE,
            f'no crystal with room for the molecules at {unit_volume_A3:.4g} Å³ per formula unit was found in '
            f'{N_TRIALS} trials; use a lower density_g_per_cm3, a smaller contact_factor, or other spacegroups',
        )

    @property
    def _n_atoms(self) -> int:
        """Number of atoms of a formula unit."""
        return sum(count * len(molecule) for molecule, count in zip(self.molecules, self.counts, strict=True))

    @cached_property
    def _smallest_volume(self) -> float:
        """The volume in Å³ that a formula unit fills if no contact distance is smaller than allowed."""
        radii = self.contact_factor * van_der_waals_radii()
        filled = (_filled_volume(molecule, radii[molecule.numbers]) for molecule in self.molecules)
        return sum(count * volume for count, volume in zip(self.counts, filled, strict=True))

    def _try(self, cell: UnitCell, volume_A3: float, rng: np.random.Generator) -> Atoms | None:
        """Return a crystal with the given volume in Å³, or None if pyxtal finds no place for the molecules."""
        from pyxtal.msg import Comp_CompatibilityError, Symm_CompatibilityError

        models = self._models(rng)
        numbers = [count * cell.z for count in self.counts]
        estimate = sum(number * model.volume for number, model in zip(numbers, models, strict=True))
        try:
            with redirect_stdout(io.StringIO()):
                crystal = _crystal_class()(
                    3, cell.spacegroup, models, numbers, factor=volume_A3 / estimate,
                    tm=_tolerances(self.contact_factor), random_state=rng,
                )  # fmt: skip
        except (Comp_CompatibilityError, Symm_CompatibilityError, RuntimeError, ValueError):
            return None
        # pyxtal enlarges a volume for which it finds no cell.
        if not crystal.valid or abs(crystal.lattice.volume / volume_A3 - 1) > 1e-6:
            return None
        atoms = self._assemble(crystal)
        try:
            check_contacts(atoms, self.contact_factor * (1 - 1e-6))
        except PhysicsViolationError:
            return None
        return atoms

    def _assemble(self, crystal: Any) -> Atoms:
        """Return a crystal from pyxtal with whole molecules, in the order of their kinds."""
        atoms = Atoms(cell=crystal.lattice.matrix, pbc=True)
        n_molecules = 0
        for site in crystal.mol_sites:
            molecule = self.molecules[site.type]
            positions, _ = site.get_coords_and_species(absolute=True, unitcell=True)
            for placed in positions.reshape(-1, len(molecule), 3):
                n_molecules += 1
                copy = molecule.copy()
                copy.positions = placed
                copy.set_tags(n_molecules)
                atoms += copy
        return atoms

    @cached_property
    def _shapes(self) -> list[Any]:
        from pymatgen.core import Molecule

        return [Molecule(molecule.get_chemical_symbols(), molecule.positions) for molecule in self.molecules]

    def _models(self, random_state: Any) -> list[Any]:
        """Return the molecules for pyxtal, unchanged, with the symmetry that they have within the tolerance."""
        from pyxtal.molecule import pyxtal_molecule

        models = []
        for shape in self._shapes:
            model = pyxtal_molecule(
                shape.copy(), symmetrize=False, tm=_tolerances(self.contact_factor), random_state=random_state
            )
            model.get_symmetry(rtol=SYMMETRY_TOLERANCE_A)
            models.append(model)
        return models


def _fits(model: Any, group: Any, number: int) -> bool:
    """Return whether a number of molecules can occupy Wyckoff positions whose symmetry the molecule has."""
    allowed = [
        wp
        for positions in group.wyckoffs_organized
        for wp in positions
        if len(wp) <= number and model.get_orientations_in_wp(wp)
    ]
    sums = {0}
    for wp in allowed:
        # A position without a free coordinate can be occupied once.
        largest = number // len(wp) if wp.get_dof() else 1
        sums |= {total + times * len(wp) for total in sums for times in range(largest + 1)}
    return number in sums


@cache
def _crystal_class() -> type:
    from pyxtal.molecular_crystal import molecular_crystal

    class TimedCrystal(molecular_crystal):  # type: ignore[misc]
        """A crystal whose search for positions respects the time limit."""

        def _set_coords(self) -> Any:
            check_time()
            return super()._set_coords()

    return TimedCrystal


@cache
def _tolerances(contact_factor: float) -> Any:
    """Return the minimum distances between atoms of different molecules for pyxtal."""
    from pyxtal.tolerance import Tol_matrix

    tolerances = Tol_matrix(prototype='molecular')
    radii = van_der_waals_radii()[: len(tolerances.matrix)]
    distances = contact_factor * (radii[:, None] + radii)
    for number in (7, 8, 9):
        distances[[1, number], [number, 1]] /= HYDROGEN_BOND_FACTOR
    tolerances.matrix[: len(radii), : len(radii)] = distances
    return tolerances
