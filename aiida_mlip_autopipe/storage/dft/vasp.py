"""Inputs and results of VASP. The user provides the POTCAR."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from pydantic import Field, model_validator

from aiida_mlip_autopipe.calculators.k_points import k_mesh
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.storage.dft.base import DftCode, DftResult, DftSettings
from aiida_mlip_autopipe.storage.imports.vasp_level import level_from_vasprun

# A static calculation with accurate forces and stress. It writes no large files.
INCAR: dict[str, Any] = {
    'PREC': 'Accurate',
    'ALGO': 'Normal',
    'EDIFF': 1e-6,
    'NELM': 200,
    'ISMEAR': 0,
    'SIGMA': 0.05,
    'LREAL': False,
    'NSW': 0,
    'IBRION': -1,
    'ISIF': 2,
    'LWAVE': False,
    'LCHARG': False,
}

# An isolated atom: spin-polarised, no symmetry, and a smearing that leaves integer occupations.
ISOLATED: dict[str, Any] = {'ISPIN': 2, 'ISYM': 0, 'ISMEAR': 0, 'SIGMA': 0.01, 'LREAL': False}


class VaspSettings(DftSettings):
    """Settings of VASP."""

    code: Literal['vasp'] = 'vasp'
    """VASP."""
    incar: dict[str, Any] = Field(default_factory=dict)
    """INCAR tags, such as ``ENCUT: 520`` and ``GGA: PE``. They are added to the default tags, or replace them."""

    @model_validator(mode='after')
    def _refuse_ionic_steps(self) -> VaspSettings:
        if self.incar.get('NSW'):
            raise fault(
                Code.VALUE_INVALID,
                'incar.NSW must be 0: the labels are the forces and stress of the unchanged structure',
            )
        return self


class Vasp(DftCode):
    """VASP. ``POTCAR.spec`` lists the elements in the order of the POTCAR."""

    settings_class = VaspSettings
    output = 'vasprun.xml'

    def __init__(self, settings: DftSettings):
        super().__init__(settings)
        # The last INCAR, keyed by its magnetic moments.
        self._incars: dict[tuple[float, ...], str] = {}

    def write(self, folder: Path, atoms: Atoms) -> None:
        """Write the inputs. Atoms must be sorted by element, because POSCAR has one block for each element."""
        from ase.io.vasp import write_vasp

        settings = self.settings
        assert isinstance(settings, VaspSettings)
        write_vasp(folder / 'POSCAR', atoms, direct=True, sort=False, vasp5=True)
        moments = tuple(atoms.get_initial_magnetic_moments().tolist())
        (folder / 'INCAR').write_text(self._incar(moments if any(moments) else ()))
        mesh = k_mesh(atoms.cell, atoms.info['periodic'], settings.kspacing_per_A)
        (folder / 'KPOINTS').write_text(f'k-points\n0\nGamma\n{" ".join(map(str, mesh))}\n0 0 0\n')
        blocks = list(dict.fromkeys(atoms.get_chemical_symbols()))
        (folder / 'POTCAR.spec').write_text('\n'.join(blocks) + '\n')

    def _incar(self, moments: tuple[float, ...]) -> str:
        """Return the INCAR. It is made once for all rows without moments, because pymatgen checks each tag."""
        if moments not in self._incars:
            from pymatgen.io.vasp.inputs import Incar

            settings = self.settings
            assert isinstance(settings, VaspSettings)
            magnetic = {'ISPIN': 2, 'MAGMOM': list(moments)} if moments else {}
            self._incars = {moments: str(Incar(INCAR | magnetic | settings.incar))}
        return self._incars[moments]

    def write_isolated_atom(self, folder: Path, atoms: Atoms) -> None:
        """Write the inputs. The total moment is fixed, so that the small smearing gives integer occupations."""
        from ase.io.vasp import write_vasp
        from pymatgen.io.vasp.inputs import Incar

        settings = self.settings
        assert isinstance(settings, VaspSettings)
        if lists := sorted(tag for tag, value in settings.incar.items() if tag.startswith('LDAU') and _is_list(value)):
            raise AutopipeError(
                Code.VALUE_INVALID,
                f'incar.{lists[0]} has values for the elements of a row, but isolated atoms have one; omit them',
            )
        (moment,) = atoms.get_initial_magnetic_moments().tolist()
        incar = INCAR | settings.incar | ISOLATED | {'MAGMOM': [moment], 'NUPDOWN': moment}
        incar.pop('KSPACING', None)
        Incar(incar).write_file(folder / 'INCAR')
        write_vasp(folder / 'POSCAR', atoms, direct=True, sort=False, vasp5=True)
        (folder / 'KPOINTS').write_text('k-points\n0\nGamma\n1 1 1\n0 0 0\n')
        (folder / 'POTCAR.spec').write_text(f'{atoms.get_chemical_symbols()[0]}\n')

    @staticmethod
    def read(folder: Path) -> DftResult:
        """Read ``vasprun.xml``."""
        from xml.etree.ElementTree import ParseError, parse

        from ase.io.vasp import read_vasp_xml

        path = folder / Vasp.output
        if not path.is_file():
            raise AutopipeError(
                Code.CALCULATION_MISSING,
                f'{folder}: {path.name} does not exist; the calculation was not run in this folder',
            )
        try:
            document = parse(path)
        except (ParseError, UnicodeDecodeError):
            raise AutopipeError(
                Code.CALCULATION_INCOMPLETE, f'{folder}: {path.name} is truncated; the calculation is not finished'
            ) from None
        steps = document.findall('calculation')
        limit = document.find(".//parameters//i[@name='NELM']")
        if not steps or limit is None:
            raise AutopipeError(
                Code.CALCULATION_INCOMPLETE,
                f'{folder}: {path.name} contains no ionic step; the calculation is not finished',
            )
        if len(steps[-1].findall('scstep')) >= int(limit.text or 0):
            raise AutopipeError(
                Code.CALCULATION_UNCONVERGED, f'{folder}: the SCF cycle did not converge in NELM = {limit.text} steps'
            )
        try:
            (atoms,) = read_vasp_xml(path, index=-1)
        except Exception as error:  # ASE's reader raises exceptions of various types
            raise AutopipeError(Code.FILE_UNREADABLE, f'{folder}: {path.name} cannot be read: {error}') from error
        results = atoms.calc.results
        if not {'free_energy', 'forces'} <= set(results):
            raise AutopipeError(Code.CALCULATION_INCOMPLETE, f'{folder}: {path.name} lacks the energy or the forces')
        stress = results.get('stress')
        level = level_from_vasprun(document.getroot(), atoms)
        return DftResult(atoms, float(results['free_energy']), np.asarray(results['forces']), stress, level)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) or (isinstance(value, str) and len(value.split()) > 1)
