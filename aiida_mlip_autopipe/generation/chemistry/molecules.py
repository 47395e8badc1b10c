"""Molecules in the config, and their amounts in a liquid, a solution or a gas."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Self

import numpy as np
from ase import Atoms
from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import InputFile, fault
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.generation.chemistry.elements import FRACTION_TOLERANCE
from aiida_mlip_autopipe.generation.chemistry.smiles import molecule_from_smiles
from aiida_mlip_autopipe.generation.files.reading import DROPPED, read_structures
from aiida_mlip_autopipe.structures.densities import MOL_PER_CM3

# One mol/L in particles per Å³.
PER_MOL_L = MOL_PER_CM3 * 1e-3


def check_molecule_name(name: str) -> str:
    """Return the name of a molecule of ASE's G2 collection or of an element, or raise a fault with the nearest one."""
    from ase.collections import g2
    from ase.data import chemical_symbols

    if name in g2.names or name in chemical_symbols[1:]:
        return name
    near = get_close_matches(name, g2.names, 1, 0.4)
    raise fault(
        Code.MOLECULE_UNKNOWN,
        f'{name!r} is neither a molecule in the G2 collection of ASE nor an element',
        nearest=near[0] if near else None,
    )


MoleculeName = Annotated[str, AfterValidator(check_molecule_name)]


def named_molecule(name: str) -> Atoms:
    """Return a molecule of ASE's G2 collection, or a single atom."""
    from ase.build import molecule
    from ase.collections import g2

    return molecule(name) if name in g2.names else Atoms(name)


class MoleculeSettings(Settings):
    """A molecule, an ion or a single atom, with its amount."""

    name: MoleculeName | None = None
    """Name in ASE's G2 collection, such as H2O or CH3OH, or the symbol of an element for a single atom."""
    file: InputFile | None = None
    """File with the structure of one molecule, in any format that ASE reads."""
    smiles: str | None = Field(default=None, min_length=1)
    """SMILES string, such as CCO or O=C1OCCO1. This needs RDKit: pip install 'aiida-mlip-autopipe[molecules]'."""
    charge: int | None = None
    """Charge of the molecule in e. The default is the charge in the SMILES string, or 0."""
    count: PositiveInt | None = None
    """Number of these molecules."""
    fraction: float | None = Field(default=None, gt=0, le=1)
    """Mole fraction. It may be omitted for one molecule, which makes up the remainder."""
    concentration_mol_per_L: PositiveFloat | None = None
    """Concentration in mol/L. It may be omitted for the solvent, whose amount then follows from the density."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if sum(value is not None for value in (self.name, self.file, self.smiles)) != 1:
            raise fault(Code.VALUES_EXCLUDE, 'set exactly one of name, file and smiles')
        if sum(value is not None for value in (self.count, self.fraction, self.concentration_mol_per_L)) > 1:
            raise fault(Code.VALUES_EXCLUDE, 'set only one of count, fraction and concentration_mol_per_L')
        return self

    @property
    def label(self) -> str:
        """Name of the molecule in records and messages: its name, its SMILES string, or the hash of its file."""
        return self.name or self.smiles or file_sha256(self.file)[:8]  # type: ignore[arg-type]

    def content(self) -> dict[str, Any]:
        """Return what determines the molecule and its amount, with the hash of a file instead of its path."""
        content = self.model_dump(mode='json', exclude_defaults=True)
        return {**content, 'file': file_sha256(self.file)} if self.file else content

    def build(self) -> Atoms:
        """Return the molecule without a cell. If it has a charge, its initial charges sum to it.

        ``info['dropped']`` lists the properties that are not kept.

        Raises
        ------
        AutopipeError
            If the molecule cannot be read or made, or its charge contradicts its SMILES string.
        """
        if self.smiles:
            atoms = molecule_from_smiles(self.smiles)
        elif self.name:
            atoms = named_molecule(self.name)
        else:
            assert self.file is not None  # the validator requires one of the three
            found = read_structures(self.file)
            if len(found) != 1 or found[0].pbc.any():
                raise AutopipeError(
                    Code.STRUCTURE_UNUSABLE,
                    f'the file {self.file} must contain one molecule without a cell; '
                    f'number of structures: {len(found)}',
                )
            atoms = found[0]
        # The moments in the collection are those of neutral molecules, so those of an ion are not reported as dropped.
        lost = [] if self.name and self.charge else _dropped(atoms)
        built = Atoms(atoms.symbols, atoms.positions, info={DROPPED: [*atoms.info.get(DROPPED, ()), *lost]})
        known = atoms.get_initial_charges()
        charge = round(float(known.sum()), 6) if self.charge is None else self.charge
        if self.smiles and charge != known.sum():
            raise AutopipeError(
                Code.CHARGE_UNBALANCED, f'the charge of {self.smiles!r} is {known.sum():+g} e, not {charge:+d} e'
            )
        if charge:
            # Without known formal charges, the charge is distributed evenly.
            built.set_initial_charges(known if known.sum() == charge else np.full(len(built), charge / len(built)))
        return built


def build_molecules(molecules: Sequence[MoleculeSettings]) -> list[Atoms]:
    """Return the molecules of a list of settings.

    Raises
    ------
    AutopipeError
        If one of them cannot be built. The message contains its place.
    """
    found = []
    for number, molecule in enumerate(molecules):
        try:
            found.append(molecule.build())
        except AutopipeError as error:
            raise AutopipeError(error.code, f'molecules[{number}]: {error}') from error
    return found


def _dropped(atoms: Atoms) -> list[str]:
    """Return the properties of a molecule that a file defines and a packing does not keep."""
    dropped = ['magnetic moments'] if atoms.get_initial_magnetic_moments().any() else []
    return [*dropped, 'fixed atoms'] if atoms.constraints else dropped


def mole_fractions(
    molecules: Sequence[MoleculeSettings], masses_u: Sequence[float], density: float | None
) -> tuple[list[float], float | None]:
    """Return the mole fractions of all molecules, and the volume per molecule if the concentrations determine it.

    Parameters
    ----------
    molecules
        The molecules, with fractions or concentrations. A single one needs no amount.
    masses_u
        Mass of each molecule in u.
    density
        Density in g/cm³, from which the amount of the solvent follows.

    Raises
    ------
    AutopipeError
        If the amounts do not determine the composition or contradict the density.
    """
    concentrations = [molecule.concentration_mol_per_L for molecule in molecules]
    if any(concentration is not None for concentration in concentrations):
        return _from_concentrations(molecules, masses_u, density)
    fractions = [molecule.fraction for molecule in molecules]
    total = sum(fraction or 0.0 for fraction in fractions)
    missing = [number for number, fraction in enumerate(fractions) if fraction is None]
    if len(missing) > 1 or (not missing and abs(total - 1) > FRACTION_TOLERANCE) or (missing and total >= 1):
        raise AutopipeError(
            Code.COMPOSITION_INVALID,
            f'the mole fractions sum to {total:.6g} and are missing for {len(missing)} of {len(molecules)} molecules; '
            'set all of them, with a sum of 1, or all but one, with a sum below 1',
        )
    rest = 1 - total if missing else 0.0
    known = [rest if fraction is None else fraction for fraction in fractions]
    return [fraction / sum(known) for fraction in known], None


def _from_concentrations(
    molecules: Sequence[MoleculeSettings], masses_u: Sequence[float], density: float | None
) -> tuple[list[float], float | None]:
    concentrations = [molecule.concentration_mol_per_L for molecule in molecules]
    missing = [number for number, concentration in enumerate(concentrations) if concentration is None]
    numbers = np.array([(concentration or 0.0) * PER_MOL_L for concentration in concentrations])
    if len(missing) > 1 or any(molecules[number].fraction for number in missing):
        raise AutopipeError(
            Code.VALUES_INCOMPLETE, 'all molecules but one, the solvent, must have concentration_mol_per_L'
        )
    if missing:
        solvent = molecules[missing[0]].label
        if density is None:
            raise AutopipeError(
                Code.VALUES_INCOMPLETE, f'set density_g_per_cm3, from which the amount of {solvent} follows'
            )
        rest = density * MOL_PER_CM3 - float(numbers @ np.array(masses_u))
        if rest <= 0:
            solutes = density - rest / MOL_PER_CM3
            raise AutopipeError(
                Code.DENSITY_IMPOSSIBLE,
                f'the other molecules alone have a density of {solutes:.4g} g/cm³, so nothing is left for {solvent} at '
                f'{density:g} g/cm³',
            )
        numbers[missing[0]] = rest / masses_u[missing[0]]
    elif density is not None:
        raise AutopipeError(
            Code.VALUES_EXCLUDE,
            'the concentrations of all molecules already determine the density; remove it, or one concentration',
        )
    return [float(number) for number in numbers / numbers.sum()], float(1 / numbers.sum())
