"""What a DFT code is here: it writes the inputs of a structure, and reads what came out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from pydantic import Field

from aiida_mlip_autopipe.core.settings import Settings


class DftSettings(Settings):
    """What every code is told."""

    code: str
    """Which code."""
    label_source: str = Field(pattern=r'^dft:\S+$')
    """The level of theory, as ``dft:vasp:pbe``: it will stand in every row that is labelled with it."""
    kspacing_per_A: float = Field(default=0.2, gt=0)
    """Largest distance of k-points in 1/Å, 2π included, as VASP's ``KSPACING``; one point along directions that are
    not periodic. The mesh has its centre at Γ."""
    vacuum_A: float = Field(default=8.0, gt=0)
    """Empty space on both sides along directions that are not periodic; plane waves repeat everything."""


@dataclass(frozen=True, eq=False)
class DftResult:
    """What a finished calculation says, its atoms in the order of the input.

    Attributes
    ----------
    atoms
        The structure that was computed.
    energy
        eV; the free energy of the electrons, whose derivative the forces are.
    forces
        eV/Å, (n, 3).
    stress
        eV/Å³ in ASE's sign and Voigt order (6,); None where the code computed none.
    """

    atoms: Atoms
    energy: float
    forces: np.ndarray
    stress: np.ndarray | None


class DftCode(ABC):
    """A DFT code.

    Parameters
    ----------
    settings
        An instance of the class's ``settings_class``.
    """

    settings_class: type[DftSettings]
    output: str
    """The file that a finished calculation leaves."""

    def __init__(self, settings: DftSettings):
        self.settings = settings

    @abstractmethod
    def write(self, folder: Path, atoms: Atoms) -> None:
        """Write the inputs for a structure, periodic in all directions, in this order of its atoms.

        Raises
        ------
        AutopipeError
            If the settings do not serve for it, as where an element has no pseudopotential.
        """

    @staticmethod
    @abstractmethod
    def read(folder: Path) -> DftResult:
        """Read what a calculation left.

        Raises
        ------
        AutopipeError
            If it is missing, cannot be read, is not finished or did not converge; the sentence begins with the folder.
        """


def k_mesh(atoms: Atoms, periodic: np.ndarray, kspacing_per_A: float) -> list[int]:
    """Return how many k-points lie along each direction of the reciprocal cell."""
    lengths = 2 * np.pi * np.linalg.norm(atoms.cell.reciprocal(), axis=1)
    # The tolerance keeps a length that is a multiple but for rounding from one point more.
    return [
        max(1, int(np.ceil(length / kspacing_per_A - 1e-6))) if p else 1
        for length, p in zip(lengths, periodic, strict=True)
    ]
