"""The interface of DFT codes: write the inputs for a structure, and read the results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from pydantic import Field

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.reading.arrays import require_array
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory


class DftSettings(Settings):
    """Settings that all DFT codes share."""

    code: str
    """The DFT code."""
    label_source: str = Field(pattern=r'^dft:\S+$')
    """Name of the level of theory, such as ``dft:vasp:pbe``. Each row with these labels stores it."""
    kspacing_per_A: float = Field(default=0.2, gt=0)
    """Maximum k-point spacing in 1/Å, including the factor 2π, as in VASP's ``KSPACING``. The mesh
    is centred at Γ and has one k-point along non-periodic directions and across a vacuum (more than 6 Å)."""
    initial_magnetic_moments: dict[str, float] = Field(default_factory=dict)
    """Initial magnetic moment in μB of the atoms of each element. If a structure has initial moments, those are used
    instead. With this setting, the calculations of all rows are spin-polarised."""
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
    used
        The settings in the output, with the keys that `DftCode.write` returns; those that it does not contain are
        missing.
    """

    atoms: Atoms
    energy: float
    forces: np.ndarray
    stress: np.ndarray | None
    level: LevelOfTheory | None = None
    used: Mapping[str, Any] = field(default_factory=dict)


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
    spin_key: str
    """Name of the setting that makes a calculation spin-polarised, such as ``ISPIN``."""
    has_default_moments: bool
    """Whether the code chooses initial magnetic moments if a spin-polarised calculation has none."""

    def __init__(self, settings: DftSettings):
        self.settings = settings

    @property
    @abstractmethod
    def spin(self) -> bool | None:
        """Whether the settings make all calculations spin-polarised or noncollinear; None if they say nothing."""

    @abstractmethod
    def write(self, folder: Path, atoms: Atoms, *, spin: bool) -> dict[str, Any]:
        """Write the inputs for a structure that is periodic in all directions, without changing the order of its atoms.

        Parameters
        ----------
        folder
            An existing folder.
        atoms
            The structure. ``info['extended']`` states along which cell vectors it needs several k-points.
        spin
            Whether the calculation is spin-polarised.

        Returns
        -------
        dict
            The requested settings, with which the output is compared (JSON).

        Raises
        ------
        AutopipeError
            If the settings are unsuitable for the structure, for example because an element has no pseudopotential.
        """

    @abstractmethod
    def write_isolated_atom(self, folder: Path, atoms: Atoms) -> dict[str, Any]:
        """Write the inputs for a spin-polarised isolated atom with its magnetic moment, at Γ, with integer occupations.

        It returns the requested settings, as `write` does.

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
            If the output is missing or incomplete, or the calculation did not converge. The message begins with the
            folder.
        Exception
            If the output is damaged; see `read_result`.
        """


def read_result(code: type[DftCode], folder: Path) -> DftResult:
    """Read the results of a calculation, and check the shapes of the arrays.

    Parameters
    ----------
    code
        The DFT code.
    folder
        The folder of the calculation.

    Raises
    ------
    AutopipeError
        If the output is missing, damaged or incomplete, or the calculation did not converge. The message begins
        with the folder.
    """
    try:
        result = code.read(folder)
        arrays = {'positions': result.atoms.positions, 'cell': result.atoms.cell.array, 'forces': result.forces}
        require_array(arrays, 'positions', 'float', None, 3, finite=True)
        require_array(arrays, 'cell', 'float', 3, 3, finite=True)
        require_array(arrays, 'forces', 'float', len(result.atoms), 3)
        if result.stress is not None:
            require_array({'stress': result.stress}, 'stress', 'float', 6)
        if not result.atoms.cell.volume:
            raise ValueError('its cell has no volume')
    except AutopipeError:
        raise
    except Exception as error:  # the readers raise exceptions of various types for damaged files
        raise AutopipeError(
            Code.FILE_UNREADABLE,
            f'{folder}: {code.output} cannot be read: {" ".join(str(error).split()) or type(error).__name__}',
        ) from error
    return result
