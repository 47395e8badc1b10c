"""Read the ionic steps of VASP from ``vasprun.xml`` and ``OUTCAR``."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from io import BytesIO
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, ParseError, iterparse, tostring

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.storage.imports.frames import Frame, check_frame
from aiida_mlip_autopipe.storage.imports.text import open_text
from aiida_mlip_autopipe.storage.imports.vasp_level import level_from_outcar, level_from_vasprun

if TYPE_CHECKING:
    from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory

KEYS = {'energy': 'free energy', 'forces': 'forces', 'stress': 'stress'}
_PARTS = ('structure', 'energy', 'varray')
CONVERGED = 'aborting loop because EDIFF is reached'


def read_vasprun(path: Path) -> Iterator[Frame | AutopipeError]:
    """Yield each ionic step of ``vasprun.xml``, or the reason why it has no labels.

    The energy is the electronic free energy, with which the forces are consistent.
    """
    from ase.io.vasp import read_vasp_xml

    document, complete = _parse(path)
    steps = [] if document is None else document.findall('calculation')
    if document is None or not steps:
        yield AutopipeError(Code.CALCULATION_INCOMPLETE, f'{path}: it contains no ionic step')
        return
    for step in steps:
        if any(step.find(part) is None for part in _PARTS):
            document.remove(step)
    limit = int(_text(document.find(".//parameters//i[@name='NELM']")) or 0)
    kept = document.findall('calculation')
    try:
        images = list(read_vasp_xml(BytesIO(tostring(document)), index=slice(None))) if kept else []
        level = level_from_vasprun(document, images[0]) if images else None
    except Exception as error:  # ASE's reader raises exceptions of various types
        yield AutopipeError(Code.FILE_UNREADABLE, f'{path}: {error}')
        return
    moments = _moments(document)
    for index, (step, atoms) in enumerate(zip(kept, images, strict=True)):
        if limit and len(step.findall('scstep')) >= limit:
            yield _unconverged(path, index, limit)
            continue
        if len(moments) == len(atoms):
            atoms.set_initial_magnetic_moments(moments)
        yield _frame(path, index, atoms, level)
    if len(steps) > len(kept) or not complete:
        yield AutopipeError(Code.CALCULATION_INCOMPLETE, f'{path}, frame {len(kept)}: the file is truncated')


def read_outcar(path: Path) -> Iterator[Frame | AutopipeError]:
    """Yield each ionic step of ``OUTCAR``, or the reason why it has no labels.

    ``OUTCAR`` has fewer digits than ``vasprun.xml``. Constraints are read from ``CONTCAR`` or ``POSCAR`` in its folder.
    """
    from ase.io.vasp_parsers.vasp_outcar_parsers import outcarchunks

    index = -1
    try:
        with open_text(path) as file:
            header = ''.join(takewhile(lambda line: 'Iteration' not in line, file))
        _require_ions(header)
        level = None
        limit = re.search(r'NELM\s*=\s*(\d+)', header)
        with open_text(path) as file:
            for index, chunk in enumerate(outcarchunks(file)):
                if any(CONVERGED in line for line in chunk.lines):
                    atoms = chunk.build()
                    level = level or level_from_outcar(header, atoms)
                    yield _frame(path, index, atoms, level)
                else:
                    yield _unconverged(path, index, int(limit[1]) if limit else None)
        with open_text(path) as file:
            is_complete = any('General timing and accounting' in line for line in file)
    except Exception as error:  # ASE's reader raises exceptions of various types
        yield AutopipeError(
            Code.FILE_UNREADABLE, f'{path}, frame {index + 1}: {error}; the rest of the file was not read'
        )
        return
    if index < 0:
        yield AutopipeError(Code.CALCULATION_INCOMPLETE, f'{path}: it contains no ionic step')
    elif not is_complete:
        yield AutopipeError(Code.CALCULATION_INCOMPLETE, f'{path}, frame {index + 1}: the file is truncated')


def _require_ions(header: str) -> None:
    """Refuse a header that declares more ions than it has lines, because ASE's reader makes a list of them."""
    n_lines = header.count('\n')
    for line in re.findall(r'.*ions per type.*', header):
        for number in line.split()[4:]:
            if int(number) > n_lines:
                raise ValueError(
                    f'the header has {counted(int(number), "ion")} of a type, but only {counted(n_lines, "line")}'
                )


def _parse(path: Path) -> tuple[Element | None, bool]:
    """Return the root of a document, and whether the document is complete. A truncated one is read up to its end."""
    root: Element | None = None
    try:
        with gzip.open(path) if path.suffix == '.gz' else path.open('rb') as file:
            # Expat reads no external entities and limits how much entities expand.
            for _, element in iterparse(file, events=('start',)):  # nosec B314
                root = element if root is None else root
    except (ParseError, EOFError, UnicodeDecodeError):
        return root, False
    return root, True


def _frame(path: Path, index: int, atoms: Atoms, level: LevelOfTheory | None) -> Frame | AutopipeError:
    results = atoms.calc.results
    where = f'{path}, frame {index}'
    labels = {'energy': results.get('free_energy'), 'forces': results.get('forces')}
    missing = [name for name, value in labels.items() if value is None]
    if missing:
        return AutopipeError(Code.LABELS_MISSING, f'{where}: {missing[0]}: the file does not contain it')
    if results.get('stress') is not None:
        labels['stress'] = np.asarray(results['stress'], dtype=float)
    bare = atoms.copy()
    try:
        check_frame(labels, bare, where)
    except AutopipeError as fault:
        return fault
    keys = {name: KEYS[name] for name in labels}
    others = {name: results[name] for name in ('magmoms', 'magmom') if results.get(name) is not None}
    return Frame(index, bare, labels, keys, others, level)


def _moments(document: Element) -> list[float]:
    """Return the initial magnetic moments of a calculation with spin polarisation, in µB."""
    if _text(document.find(".//parameters//i[@name='ISPIN']")) != '2':
        return []
    return [float(word) for word in _text(document.find(".//parameters//v[@name='MAGMOM']")).split()]


def _text(element: Element | None) -> str:
    return '' if element is None else (element.text or '').strip()


def _unconverged(path: Path, index: int, limit: int | None) -> AutopipeError:
    steps = f' (NELM = {limit})' if limit else ''
    return AutopipeError(Code.CALCULATION_UNCONVERGED, f'{path}, frame {index}: the SCF cycle did not converge{steps}')
