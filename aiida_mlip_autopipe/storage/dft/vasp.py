"""Inputs and results of VASP. The user provides the POTCAR."""

from __future__ import annotations

from io import StringIO
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from pydantic import Field, field_validator, model_validator

from aiida_mlip_autopipe.calculators.k_points import k_mesh
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.storage.dft.base import DftCode, DftResult, DftSettings
from aiida_mlip_autopipe.storage.dft.incar import check_incar, resolve_elements, write_incar
from aiida_mlip_autopipe.storage.dft.vasprun import is_converged, requested_settings, used_settings
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
    incar: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    """INCAR tags, such as ``ENCUT: 520`` (required) and ``GGA: PE``. They are added to the default tags, or replace
    them. ``LDAUU``, ``LDAUJ`` and ``LDAUL`` have a value for each element, such as ``LDAUU: {Fe: 5.3}``. Unknown tags,
    and tags that would change the structure or do not fit all rows, are refused."""

    @field_validator('incar')
    @classmethod
    def _check_tags(cls, given: dict[str, Any]) -> dict[str, Any]:
        try:
            return check_incar(given)
        except AutopipeError as error:
            raise fault(error.code, str(error)) from None

    @model_validator(mode='after')
    def _refuse_moments_without_spin(self) -> VaspSettings:
        if self.initial_magnetic_moments and self.incar.get('ISPIN') == 1:
            raise fault(Code.VALUES_EXCLUDE, 'initial_magnetic_moments cannot be combined with incar.ISPIN: 1')
        return self


class Vasp(DftCode):
    """VASP. ``POTCAR.spec`` lists the elements in the order of the POTCAR."""

    settings_class = VaspSettings
    settings: VaspSettings
    output = 'vasprun.xml'
    spin_key = 'ISPIN'
    has_default_moments = True

    @property
    def spin(self) -> bool | None:
        """Whether the INCAR makes all calculations spin-polarised or noncollinear; None if it says nothing."""
        incar = self.settings.incar
        if incar.get('LNONCOLLINEAR') or incar.get('LSORBIT'):
            return True
        return incar['ISPIN'] == 2 if 'ISPIN' in incar else None

    def write(self, folder: Path, atoms: Atoms, *, spin: bool) -> dict[str, Any]:
        """Write the inputs. Atoms must be sorted by element, because POSCAR has one block for each element."""
        incar = self.settings.incar
        self._require_vacuum(atoms)
        moments = {'MAGMOM': self._moments(atoms)} if atoms.has('initial_magmoms') else {}
        mesh = k_mesh(atoms.cell, atoms.info['extended'], self.settings.kspacing_per_A)
        return _write_files(folder, atoms, INCAR | {'ISPIN': 2 if spin else 1} | moments | incar, mesh)

    def _moments(self, atoms: Atoms) -> list[float]:
        """Return the magnetic moments of all atoms, with three components if the calculation is noncollinear."""
        moments = atoms.get_initial_magnetic_moments()
        incar = self.settings.incar
        if moments.ndim == 1 and (incar.get('LNONCOLLINEAR') or incar.get('LSORBIT')):
            moments = np.stack([np.zeros(len(atoms)), np.zeros(len(atoms)), moments], axis=1)
        return list(moments.ravel().tolist())

    def _require_vacuum(self, atoms: Atoms) -> None:
        """Refuse a dipole correction along a direction in which the structure has no vacuum."""
        axis = self.settings.incar.get('IDIPOL', 0)
        extended = atoms.info['extended'] if axis == 4 else atoms.info['extended'][axis - 1 : axis]
        if np.any(extended):
            raise AutopipeError(
                Code.VALUE_INVALID,
                f'incar.IDIPOL is {axis}, but the structure has no vacuum along this direction; write the inputs of '
                'slabs separately with --select',
            )

    def write_isolated_atom(self, folder: Path, atoms: Atoms) -> dict[str, Any]:
        """Write the inputs. The total moment is fixed, so that the small smearing gives integer occupations."""
        (moment,) = atoms.get_initial_magnetic_moments().tolist()
        atom = {'MAGMOM': [moment], 'NUPDOWN': moment}
        return _write_files(folder, atoms, INCAR | self.settings.incar | ISOLATED | atom, [1, 1, 1])

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
            # Expat reads no external entities and limits how much entities expand.
            document = parse(path)  # nosec B314
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
        if len(steps[-1].findall('scstep')) >= int(limit.text or 0) and not is_converged(document.getroot()):
            raise AutopipeError(
                Code.CALCULATION_UNCONVERGED, f'{folder}: the SCF cycle did not converge (NELM = {limit.text})'
            )
        (atoms,) = read_vasp_xml(path, index=-1)
        results = atoms.calc.results
        if not {'free_energy', 'forces'} <= set(results):
            raise AutopipeError(Code.CALCULATION_INCOMPLETE, f'{folder}: {path.name} lacks the energy or the forces')
        stress = results.get('stress')
        root = document.getroot()
        level, used = level_from_vasprun(root, atoms), used_settings(root)
        return DftResult(atoms, float(results['free_energy']), np.asarray(results['forces']), stress, level, used)


def _write_files(folder: Path, atoms: Atoms, tags: dict[str, Any], mesh: list[int]) -> dict[str, Any]:
    blocks = list(dict.fromkeys(atoms.get_chemical_symbols()))
    resolved = resolve_elements(tags, blocks)
    texts = {
        'POSCAR': _poscar(atoms),
        'INCAR': write_incar(resolved),
        'KPOINTS': f'k-points\n0\nGamma\n{" ".join(map(str, mesh))}\n0 0 0\n',
        'POTCAR.spec': '\n'.join(blocks) + '\n',
    }
    for name, text in texts.items():
        # Path.write_text takes twice as long.
        with open(f'{folder}/{name}', 'wb', buffering=0) as file:
            file.write(text.encode())
    return requested_settings(resolved, mesh)


def _poscar(atoms: Atoms) -> str:
    """Return a structure without constraints as ASE writes it, but all lines at once, in a fraction of the time."""
    if atoms.has('momenta'):
        from ase.io.vasp import write_vasp

        text = StringIO()
        write_vasp(text, atoms, direct=True, sort=False, vasp5=True)
        return text.getvalue()
    counts = [(symbol, len(list(group))) for symbol, group in groupby(atoms.get_chemical_symbols())]
    positions = atoms.get_scaled_positions(wrap=False)
    return (
        ' '.join(f'{symbol:2s}' for symbol, _ in counts)
        + f'\n{1:19.16f}\n'
        + '  %21.16f %21.16f %21.16f\n' * 3 % tuple(atoms.cell.array.ravel().tolist())
        + ' '
        + ' '.join(f'{symbol:3s}' for symbol, _ in counts)
        + '\n '
        + ' '.join(f'{count:3d}' for _, count in counts)
        + '\nDirect\n'
        + ' %19.16f %19.16f %19.16f\n' * len(atoms) % tuple(positions.ravel().tolist())
    )
