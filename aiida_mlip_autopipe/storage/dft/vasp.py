"""Inputs and results of VASP. The POTCAR is the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from pydantic import Field, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.storage.dft.base import DftCode, DftResult, DftSettings, k_mesh

# A static calculation with accurate forces and stress, and nothing large left behind.
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


class VaspSettings(DftSettings):
    """How VASP computes the labels."""

    code: Literal['vasp'] = 'vasp'
    """VASP."""
    incar: dict[str, Any] = Field(default_factory=dict)
    """Tags of the INCAR, as ``ENCUT: 520`` and ``GGA: PE``; they replace those that are set here, and add to them."""

    @model_validator(mode='after')
    def _keep_the_atoms_in_place(self) -> VaspSettings:
        if self.incar.get('NSW'):
            raise fault(Code.VALUE_INVALID, 'incar.NSW must be 0: labels are those of the structure as it is')
        return self


class Vasp(DftCode):
    """VASP: POSCAR, INCAR, KPOINTS, and the names of the potentials in their order in ``POTCAR.spec``."""

    settings_class = VaspSettings
    output = 'vasprun.xml'

    def write(self, folder: Path, atoms: Atoms) -> None:
        """Write the inputs; POSCAR has each element in one block, so atoms must come sorted by element."""
        from ase.io.vasp import write_vasp
        from pymatgen.io.vasp.inputs import Incar

        settings = self.settings
        assert isinstance(settings, VaspSettings)
        write_vasp(folder / 'POSCAR', atoms, direct=True, sort=False, vasp5=True)
        magnetic = {}
        if atoms.get_initial_magnetic_moments().any():
            magnetic = {'ISPIN': 2, 'MAGMOM': atoms.get_initial_magnetic_moments().tolist()}
        Incar(INCAR | magnetic | settings.incar).write_file(folder / 'INCAR')
        mesh = k_mesh(atoms, atoms.info['periodic'], settings.kspacing_per_A)
        (folder / 'KPOINTS').write_text(f'k-points\n0\nGamma\n{" ".join(map(str, mesh))}\n0 0 0\n')
        blocks = list(dict.fromkeys(atoms.get_chemical_symbols()))
        (folder / 'POTCAR.spec').write_text('\n'.join(blocks) + '\n')

    @staticmethod
    def read(folder: Path) -> DftResult:
        """Read ``vasprun.xml``."""
        from xml.etree.ElementTree import ParseError, parse

        from ase.io.vasp import read_vasp_xml

        path = folder / Vasp.output
        if not path.is_file():
            raise AutopipeError(
                Code.CALCULATION_MISSING,
                f'{folder}: there is no {path.name}; the calculation was not run, or not in this folder',
            )
        try:
            document = parse(path)
        except (ParseError, UnicodeDecodeError):
            raise AutopipeError(
                Code.CALCULATION_INCOMPLETE, f'{folder}: {path.name} breaks off; the calculation is not finished'
            ) from None
        steps = document.findall('calculation')
        limit = document.find(".//parameters//i[@name='NELM']")
        if not steps or limit is None:
            raise AutopipeError(
                Code.CALCULATION_INCOMPLETE, f'{folder}: {path.name} has no ionic step; the calculation is not finished'
            )
        if len(steps[-1].findall('scstep')) >= int(limit.text or 0):
            raise AutopipeError(
                Code.CALCULATION_UNCONVERGED, f'{folder}: the electrons did not converge in NELM = {limit.text} steps'
            )
        try:
            (atoms,) = read_vasp_xml(path, index=-1)
        except Exception as error:  # the reader raises various errors
            raise AutopipeError(Code.FILE_UNREADABLE, f'{folder}: {path.name} cannot be read: {error}') from error
        results = atoms.calc.results
        if not {'free_energy', 'forces'} <= set(results):
            raise AutopipeError(Code.CALCULATION_INCOMPLETE, f'{folder}: {path.name} has no energy or no forces')
        stress = results.get('stress')
        return DftResult(
            atoms, float(results['free_energy']), np.asarray(results['forces']), None if stress is None else stress
        )
