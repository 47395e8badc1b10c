"""Inputs and results of Quantum ESPRESSO's ``pw.x``. The user provides the pseudopotentials."""

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
from aiida_mlip_autopipe.storage.imports.quantum_espresso import level_from_pw

# Labels require these entries, so the user cannot change them.
CONTROL = {'calculation': 'scf', 'tprnfor': True, 'tstress': True}
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
    them."""

    @model_validator(mode='after')
    def _require_label_entries(self) -> EspressoSettings:
        for key, needed in CONTROL.items():
            if self.input.get('control', {}).get(key, needed) != needed:
                raise fault(
                    Code.VALUE_INVALID,
                    f'input.control.{key} must be {needed}: the labels are the forces and stress of the unchanged '
                    'structure',
                )
        return self


class QuantumEspresso(DftCode):
    """Quantum ESPRESSO, run as ``pw.x -in pw.in > pw.out``."""

    settings_class = EspressoSettings
    output = 'pw.out'

    def write(self, folder: Path, atoms: Atoms) -> None:
        """Write ``pw.in``."""
        mesh = k_mesh(atoms.cell, atoms.info['periodic'], self.settings.kspacing_per_A)
        self._write(folder, atoms, self._namelists(), mesh)

    def write_isolated_atom(self, folder: Path, atoms: Atoms) -> None:
        """Write ``pw.in`` with fixed occupations and a fixed total moment."""
        namelists = self._namelists()
        smearing = ('smearing', 'degauss', 'nspin', 'tot_magnetization')
        kept = {
            key: value
            for key, value in namelists['system'].items()
            if key not in smearing and not key.startswith('starting_magnetization')
        }
        (moment,) = atoms.get_initial_magnetic_moments().tolist()
        spin = {'nspin': 2, 'tot_magnetization': moment} if moment else {}
        namelists['system'] = kept | {'occupations': 'fixed', 'nosym': True} | spin
        # With fixed occupations, orbitals that are almost degenerate alternate, so the residual does not fall further.
        namelists['electrons'] = namelists['electrons'] | {'conv_thr': 1e-6}
        self._write(folder, atoms, namelists, None)

    def _namelists(self) -> dict[str, dict[str, Any]]:
        settings = self.settings
        assert isinstance(settings, EspressoSettings)
        namelists = {name: DEFAULTS[name] | settings.input.get(name, {}) for name in DEFAULTS}  # type: ignore[call-overload]
        namelists['control'] = namelists['control'] | {'pseudo_dir': settings.pseudo_dir}
        namelists['system'] = {'ecutwfc': settings.ecutwfc_Ry} | namelists['system']
        return namelists

    def _write(self, folder: Path, atoms: Atoms, namelists: dict[str, dict[str, Any]], mesh: list[int] | None) -> None:
        from ase.io.espresso import write_espresso_in

        settings = self.settings
        assert isinstance(settings, EspressoSettings)
        missing = sorted(set(atoms.get_chemical_symbols()) - set(settings.pseudopotentials))
        if missing:
            raise AutopipeError(Code.VALUE_MISSING, f'pseudopotentials: no file is given for {", ".join(missing)}')
        with (folder / 'pw.in').open('w') as file:
            write_espresso_in(
                file,
                atoms,
                input_data=namelists,
                pseudopotentials=settings.pseudopotentials,
                kpts=mesh,
            )

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
            try:
                atoms = list(read_espresso_out(file))[-1]
            except Exception as error:  # ASE's reader raises exceptions of various types
                raise AutopipeError(Code.FILE_UNREADABLE, f'{folder}: {path.name} cannot be read: {error}') from error
        results = atoms.calc.results
        if results.get('energy') is None or results.get('forces') is None:
            raise AutopipeError(Code.CALCULATION_INCOMPLETE, f'{folder}: {path.name} lacks the energy or the forces')
        stress = results.get('stress')
        return DftResult(
            atoms,
            float(results['energy']),
            np.asarray(results['forces']),
            None if stress is None else np.asarray(stress),
            level_from_pw(text, atoms),
        )
