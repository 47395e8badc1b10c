"""Inputs and results of Quantum ESPRESSO's ``pw.x``. The user provides the pseudopotentials."""

from __future__ import annotations

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
from aiida_mlip_autopipe.storage.dft.namelists import (
    CONTROL,
    check_namelists,
    requested_settings,
    resolve_elements,
    used_settings,
)
from aiida_mlip_autopipe.storage.imports.quantum_espresso import level_from_pw

DEFAULTS: dict[str, dict[str, Any]] = {
    'control': CONTROL | {'prefix': 'pwscf', 'outdir': './scratch', 'disk_io': 'low'},
    'system': {'occupations': 'smearing', 'smearing': 'cold', 'degauss': 0.01},
    'electrons': {'conv_thr': 1e-8, 'electron_maxstep': 200},
}


class EspressoSettings(DftSettings):
    """Settings of Quantum ESPRESSO."""

    code: Literal['quantum-espresso'] = 'quantum-espresso'
    """Quantum ESPRESSO."""
    ecutwfc_Ry: float = Field(gt=0)
    """Plane-wave cutoff in Ry, as required by the pseudopotentials."""
    pseudopotentials: dict[str, str]
    """File name of the pseudopotential of each element, such as ``Al: Al.pbe-n-kjpaw_psl.1.0.0.UPF``."""
    pseudo_dir: str = '.'
    """Folder of the pseudopotentials on the computer that runs the calculations."""
    input: dict[Literal['control', 'system', 'electrons'], dict[str, Any]] = Field(default_factory=dict)
    """Entries of the namelists, such as ``system: {ecutrho: 400}``. They are added to the default entries, or replace
    them. Unknown entries, and entries that would change the structure or do not fit all rows, are refused."""

    @field_validator('input')
    @classmethod
    def _check_entries(cls, given: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        try:
            return check_namelists(given)
        except AutopipeError as error:
            raise fault(error.code, str(error)) from None

    @model_validator(mode='after')
    def _refuse_moments_without_spin(self) -> EspressoSettings:
        if self.initial_magnetic_moments and self.input.get('system', {}).get('nspin') == 1:
            raise fault(Code.VALUES_EXCLUDE, 'initial_magnetic_moments cannot be combined with input.system.nspin: 1')
        return self


class QuantumEspresso(DftCode):
    """Quantum ESPRESSO, run as ``pw.x -in pw.in > pw.out``."""

    settings_class = EspressoSettings
    settings: EspressoSettings
    output = 'pw.out'
    spin_key = 'input.system.nspin'
    has_default_moments = False

    @property
    def spin(self) -> bool | None:
        """Whether the namelists make all calculations spin-polarised or noncollinear; None if they say nothing."""
        system = self.settings.input.get('system', {})
        if system.get('noncolin'):
            return True
        return int(system['nspin']) > 1 if 'nspin' in system else None

    def write(self, folder: Path, atoms: Atoms, *, spin: bool) -> dict[str, Any]:
        """Write ``pw.in``."""
        mesh = k_mesh(atoms.cell, atoms.info['extended'], self.settings.kspacing_per_A)
        namelists = self._namelists()
        if spin and not namelists['system'].get('noncolin'):
            namelists['system'] = {'nspin': 2} | namelists['system']
        return self._write(folder, atoms, namelists, mesh)

    def write_isolated_atom(self, folder: Path, atoms: Atoms) -> dict[str, Any]:
        """Write ``pw.in`` with fixed occupations and a fixed total moment."""
        namelists = self._namelists()
        smearing = ('smearing', 'degauss', 'nspin')
        kept = {key: value for key, value in namelists['system'].items() if key not in smearing}
        (moment,) = atoms.get_initial_magnetic_moments().tolist()
        spin = {'nspin': 2, 'tot_magnetization': moment} if moment else {}
        namelists['system'] = kept | {'occupations': 'fixed', 'nosym': True} | spin
        # With fixed occupations, nearly degenerate orbitals may swap between steps, so the residual stagnates.
        namelists['electrons'] = namelists['electrons'] | {'conv_thr': 1e-6}
        return self._write(folder, atoms, namelists, None)

    def _namelists(self) -> dict[str, dict[str, Any]]:
        settings = self.settings
        namelists = {name: DEFAULTS[name] | settings.input.get(name, {}) for name in DEFAULTS}  # type: ignore[call-overload]
        namelists['control'] = namelists['control'] | {'pseudo_dir': settings.pseudo_dir}
        namelists['system'] = {'ecutwfc': settings.ecutwfc_Ry} | namelists['system']
        return namelists

    def _write(
        self, folder: Path, atoms: Atoms, namelists: dict[str, dict[str, Any]], mesh: list[int] | None
    ) -> dict[str, Any]:
        from ase.io.espresso import write_espresso_in

        given = self.settings.pseudopotentials
        symbols = atoms.get_chemical_symbols()
        if missing := sorted(set(symbols) - set(given)):
            raise AutopipeError(Code.VALUE_MISSING, f'pseudopotentials: no file is given for {", ".join(missing)}')
        # ASE makes a species of each element and, with spin, of each moment, in the order of the atoms.
        is_magnetic = namelists['system'].get('nspin') == 2 or namelists['system'].get('noncolin')
        moments = atoms.get_initial_magnetic_moments() if is_magnetic else np.zeros(len(atoms))
        species = [symbol for symbol, _ in dict.fromkeys(zip(symbols, moments.tolist(), strict=True))]
        namelists = namelists | {'system': resolve_elements(namelists['system'], species)}
        with (folder / 'pw.in').open('w') as file:
            write_espresso_in(file, atoms, input_data=namelists, pseudopotentials=given, kpts=mesh)
        return requested_settings(namelists, mesh, {symbol: given[symbol] for symbol in set(symbols)})

    @staticmethod
    def read(folder: Path) -> DftResult:
        """Read ``pw.out``."""
        from ase.io.espresso import read_espresso_out

        path = folder / QuantumEspresso.output
        if not path.is_file():
            raise AutopipeError(
                Code.CALCULATION_MISSING,
                f'{folder}: {path.name} does not exist; the calculation was not run in this folder',
            )
        text = path.read_text(errors='replace')
        if 'convergence NOT achieved' in text:
            raise AutopipeError(Code.CALCULATION_UNCONVERGED, f'{folder}: the SCF cycle did not converge')
        if 'JOB DONE' not in text:
            raise AutopipeError(
                Code.CALCULATION_INCOMPLETE, f'{folder}: {path.name} is truncated; the calculation is not finished'
            )
        with path.open() as file:
            atoms = list(read_espresso_out(file))[-1]
        results = atoms.calc.results
        if results.get('energy') is None or results.get('forces') is None:
            raise AutopipeError(Code.CALCULATION_INCOMPLETE, f'{folder}: {path.name} lacks the energy or the forces')
        stress = results.get('stress')
        level = level_from_pw(text, atoms)
        return DftResult(
            atoms,
            float(results['energy']),
            np.asarray(results['forces']),
            None if stress is None else np.asarray(stress),
            level,
            used_settings(text, atoms, level.parameters.get('spin')),
        )
