"""Read the ionic steps of Quantum ESPRESSO's ``pw.x`` from its output."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage.imports.frames import Frame, check_frame
from aiida_mlip_autopipe.storage.imports.levels import SPACING, k_spacing
from aiida_mlip_autopipe.storage.imports.text import open_text
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory

START = 'Program PWSCF'
POSITIONS = 'ATOMIC_POSITIONS'
UNCONVERGED = 'convergence NOT achieved'
RESULTS = ('!    total energy', 'Forces acting on atoms', 'total   stress', UNCONVERGED)
BANDS = 'End of self-consistent calculation'
TOLERANCE = 1e-3
KEYS = {'energy': '! total energy', 'forces': 'Forces acting on atoms', 'stress': 'total stress'}


def read_pw(path: Path) -> Iterator[Frame | AutopipeError]:
    """Yield each ionic step of an output of ``pw.x``, or the reason why it has no labels.

    The energy is the total energy with the smearing term, with which the forces are consistent.
    """
    from ase.io.espresso import read_espresso_out

    with open_text(path) as file:
        text = file.read()
    index = 0
    is_complete = 'JOB DONE' in text or UNCONVERGED in text
    try:
        level = None
        steps = _steps(text)
        # ASE's reader fails at the bands of an unconverged step, which are not required.
        images = read_espresso_out(StringIO(text.replace(BANDS, '')), results_required=False)
        for position, (atoms, step) in enumerate(zip(images, steps, strict=True), start=1):
            if not any(marker in step for marker in RESULTS):
                continue  # the positions for the next step, or those at the end of a relaxation
            if position == len(steps) and not is_complete:
                continue  # the file may end within a number
            where = f'{path}, frame {index}'
            level = level or level_from_pw(text, atoms)
            results = atoms.calc.results
            labels = {name: results.get(name) for name in ('energy', 'forces', 'stress')}
            missing = [name for name in ('energy', 'forces') if labels[name] is None]
            if UNCONVERGED in step:
                yield AutopipeError(Code.CALCULATION_UNCONVERGED, f'{where}: the SCF cycle did not converge')
            elif missing:
                yield AutopipeError(Code.LABELS_MISSING, f'{where}: {missing[0]}: the file does not contain it')
            else:
                found = {name: value for name, value in labels.items() if value is not None}
                keys = {name: KEYS[name] for name in found}
                others = {'magmoms': results['magmoms']} if results.get('magmoms') is not None else {}
                bare = atoms.copy()
                try:
                    check_frame(found, bare, where)
                    yield Frame(index, bare, found, keys, others, level)
                except AutopipeError as fault:
                    yield fault
            index += 1
    except Exception as error:  # ASE's reader raises exceptions of various types
        yield AutopipeError(Code.FILE_UNREADABLE, f'{path}, frame {index}: {error}; the rest of the file was not read')
        return
    if not is_complete:
        yield AutopipeError(Code.CALCULATION_INCOMPLETE, f'{path}, frame {index}: the file is truncated')
    elif not index:
        yield AutopipeError(Code.CALCULATION_INCOMPLETE, f'{path}: it contains no ionic step')


def _steps(text: str) -> list[str]:
    """Return the parts of an output that begin with a structure, as ASE's reader counts them."""
    starts = [match.start() for match in re.finditer(rf'^.*(?:{START}|{POSITIONS})', text, re.MULTILINE)]
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def level_from_pw(text: str, atoms: Atoms) -> LevelOfTheory:
    """Return the level of theory of a calculation from the output of ``pw.x``, whose first structure is ``atoms``."""
    from ase.units import Rydberg

    def find(pattern: str) -> str | None:
        match = re.search(pattern, text)
        return ' '.join(match[1].split()) if match else None

    def energy(pattern: str) -> float | None:
        found = find(pattern)
        return round(float(found) * Rydberg, 6) if found else None

    functional = find(r'Exchange-correlation\s*=\s*([^\n(]+)') or 'unknown'
    cutoff = find(r'kinetic-energy cutoff\s*=\s*(\S+)\s+Ry')
    name = f'dft:quantum-espresso:{functional.lower().replace(" ", "+")}' + (f'-{float(cutoff):g}Ry' if cutoff else '')
    noncollinear = re.search(r'Non-?collinear|Noncollinear', text)
    parameters = {
        'version': find(r'Program PWSCF v\.(\S+)'),
        'functional': functional,
        'cutoff_eV': energy(r'kinetic-energy cutoff\s*=\s*(\S+)\s+Ry'),
        'density_cutoff_eV': energy(r'charge density cutoff\s*=\s*(\S+)\s+Ry'),
        SPACING: k_spacing(atoms, mesh_from_pw(text, atoms.cell.array)),
        # The sha256 of the files is unknown; the output contains the MD5 sum.
        'potentials': dict(re.findall(r'PseudoPot\. #\s*\d+ for\s+(\S+)\s.*\n.*\n\s*MD5 check sum:\s*(\w+)', text)),
        'spin': 'noncollinear' if noncollinear else 'collinear' if 'Starting magnetic structure' in text else 'none',
        'spin_orbit': 'with spin-orbit' in text or None,
        'smearing': find(r'number of k points=\s*\d+ +(\S.*?) *, *width'),
        'smearing_width_eV': energy(r'number of k points=.*width \(Ry\)=\s*(\S+)'),
        'hubbard': find(r'((?:Simplified LDA\+U calculation|Hubbard parameters).*\n(?:.*\S.*\n)*)'),
        'dispersion': find(r'(DFT-D3|Grimme-D2|XDM|Tkatchenko-Scheffler|Many-Body Dispersion)'),
    }
    return LevelOfTheory(method='dft', code='quantum-espresso', name=name, parameters=parameters)


def mesh_from_pw(text: str, cell: np.ndarray) -> list[int] | None:
    """Return the mesh of k-points of a calculation; None if it cannot be derived from the points in the output."""
    from ase.units import Bohr

    alat = re.search(r'lattice parameter \(alat\)\s*=\s*(\S+)', text)
    points = re.findall(r'k\(\s*\d+\) = \((.{12})(.{12})(.{12})\), wk =\s*(\S+)', text)
    if alat is None or not points:
        return None
    numbers = np.array(points, dtype=float)
    fractions, weights = numbers[:, :3] @ (cell / (float(alat[1]) * Bohr)).T, numbers[:, 3]
    at_origin = np.abs(fractions).max(axis=1) < TOLERANCE
    mesh = [_divisions(fractions[:, axis]) for axis in range(3)]
    # A mesh that contains the origin contains it once.
    is_complete = at_origin.any() and round(float(weights.sum() / weights[at_origin].sum())) == np.prod(mesh)
    return mesh if is_complete else None


def _divisions(fractions: np.ndarray) -> int:
    """Return the smallest number of divisions of an axis whose points include all these coordinates."""
    for number in range(1, 100):
        if np.abs(fractions * number - np.round(fractions * number)).max() < TOLERANCE * number:
            return number
    return 0
