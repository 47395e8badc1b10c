"""The interface of DFT codes: write the inputs for a structure, and read the results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from pydantic import Field

from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory


class DftSettings(Settings):
    """Settings that all DFT codes share."""

    code: str
    """The DFT code."""
    label_source: str = Field(pattern=r'^dft:\S+$')
    """The level of theory, such as ``dft:vasp:pbe``. Each row with these labels stores it."""
    kspacing_per_A: float = Field(default=0.2, gt=0)
    """Maximum spacing of the k-points in 1/Å, including the factor 2π, as in VASP's ``KSPACING``. Non-periodic
    directions have one k-point. The mesh is centred at Γ."""
    vacuum_A: float = Field(default=8.0, gt=0)
    """Thickness in Å of the vacuum on each side of the structure along non-periodic directions. Plane-wave codes repeat
    the cell in all directions."""


@dataclass(frozen=True, eq=False)
class DftResult:
    """The results of a finished calculation, with the atoms in the order of the input.

    Attributes
    ----------
    atoms
        The structure of the calculation.
    energy
        Electronic free energy in eV, with which the forces are consistent.
    forces
        Forces in eV/Å, (n, 3).
    stress
        Stress in eV/Å³ with ASE's sign convention and Voigt order, (6,); None if the code did not compute it.
    level
        The part of the level of theory that the output contains; None if it contains nothing about it.
    """

    atoms: Atoms
    energy: float
    forces: np.ndarray
    stress: np.ndarray | None
    level: LevelOfTheory | None = None


class DftCode(ABC):
    """A DFT code.

    Parameters
    ----------
    settings
        An instance of the class's ``settings_class``.
    """

    settings_class: type[DftSettings]
    output: str
    """Name of the output file."""

    def __init__(self, settings: DftSettings):
        self.settings = settings

    @abstractmethod
    def write(self, folder: Path, atoms: Atoms) -> None:
        """Write the inputs for a structure that is periodic in all directions, without changing the order of its atoms.

        Raises
        ------
        AutopipeError
            If the settings are unsuitable for the structure, for example because an element has no pseudopotential.
        """

    @abstractmethod
    def write_isolated_atom(self, folder: Path, atoms: Atoms) -> None:
        """Write the inputs for a spin-polarised isolated atom with its magnetic moment, at Γ, with integer occupations.

        Raises
        ------
        AutopipeError
            If the settings are unsuitable for the element or for an isolated atom.
        """

    @staticmethod
    @abstractmethod
    def read(folder: Path) -> DftResult:
        """Read the results of a calculation.

        Raises
        ------
        AutopipeError
            If the output is missing, unreadable or incomplete, or the calculation did not converge. The message begins
            with the folder.
        """
