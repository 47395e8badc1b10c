"""Inputs of a DFT code for isolated atoms, and their energies from the results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.data import atomic_numbers, ground_state_magnetic_moments

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.reading.json_text import parse_json
from aiida_mlip_autopipe.storage.dft.agreement import require_agreement
from aiida_mlip_autopipe.storage.dft.base import DftCode, read_result
from aiida_mlip_autopipe.structures.rows.labels import DFT_SETTINGS
from aiida_mlip_autopipe.structures.rows.row import ISOLATED_ATOMS, Row

ATOM_FILE = 'atom.json'
# Key in these files for the settings that the inputs request.
REQUESTED = 'requested'
# Settings that do not apply to an isolated atom or do not change its energy.
IRRELEVANT = {'kspacing_per_A', 'vacuum_A', 'pseudo_dir', 'initial_magnetic_moments'}
# Three different lengths in Å break the symmetry of the box, so that an open shell has one ground state.
BOX_A = (14.0, 15.0, 16.0)


@dataclass(frozen=True)
class IsolatedAtoms:
    """The energies of isolated atoms from a DFT code.

    Attributes
    ----------
    energies
        eV by symbol.
    label_source
        Name of the level of theory of the calculations; None if there are none.
    settings
        Hash of the settings of the code.
    faults
        The reason why each of the other calculations has no energy.
    """

    energies: dict[str, float]
    label_source: str | None
    settings: str | None
    faults: tuple[AutopipeError, ...]


def hash_settings(code: DftCode) -> str:
    """Return the hash of the settings of a code, by which calculations at the same level are recognised."""
    settings = code.settings.model_dump_json(exclude=IRRELEVANT)
    return hashlib.sha256(settings.encode()).hexdigest()[:16]


def make_isolated_atom(symbol: str) -> Atoms:
    """Return a spin-polarised atom with the magnetic moment of its Hund's-rule ground state, in a large box."""
    moment = float(ground_state_magnetic_moments[atomic_numbers[symbol]])
    centre = [length / 2 for length in BOX_A]
    return Atoms([symbol], positions=[centre], cell=BOX_A, pbc=True, magmoms=[moment])


def write_isolated_atoms(folder: Path, symbols: Iterable[str], code: DftCode) -> list[Path]:
    """Write a folder with inputs for an isolated atom of each element to an existing folder.

    Raises
    ------
    AutopipeError
        If the settings are unsuitable for an element or for isolated atoms.
    """
    written = []
    for symbol in sorted(set(symbols), key=atomic_numbers.__getitem__):
        inner = folder / f'isolated_{symbol}'
        inner.mkdir()
        try:
            requested = code.write_isolated_atom(inner, make_isolated_atom(symbol))
        except AutopipeError as error:
            raise AutopipeError(error.code, f'{inner.name}: {error}') from None
        about = {
            'element': symbol,
            'code': code.settings.code,
            'label_source': code.settings.label_source,
            DFT_SETTINGS: hash_settings(code),
            REQUESTED: requested,
        }
        (inner / ATOM_FILE).write_text(json.dumps(about) + '\n')
        written.append(inner)
    return written


def read_isolated_atoms(folder: Path, codes: Mapping[str, type[DftCode]]) -> IsolatedAtoms:
    """Read the energies of all isolated atoms below a folder.

    Raises
    ------
    AutopipeError
        If a file that identifies a calculation is malformed, an element was calculated twice, or the settings of two
        calculations differ.
    """
    calculations: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in sorted(folder.rglob(ATOM_FILE)):
        about = _read_about(path, codes)
        where, known = calculations.setdefault(about['element'], (path.parent, about))
        if where != path.parent:
            raise AutopipeError(
                Code.CALCULATION_TWICE,
                f'{where} and {path.parent} are both calculations of an isolated atom of {known["element"]}',
            )
    _require_one_level(list(calculations.values()))
    energies: dict[str, float] = {}
    faults: list[AutopipeError] = []
    for symbol, (where, about) in calculations.items():
        try:
            result = read_result(codes[about['code']], where)
            if result.atoms.get_chemical_symbols() != [symbol]:
                found = result.atoms.get_chemical_formula()
                raise AutopipeError(Code.CALCULATION_MISMATCH, f'{where}: the calculation has the atoms {found}')
            require_agreement(where, about.get(REQUESTED, {}), result.used)
            energies[symbol] = result.energy
        except AutopipeError as fault:
            faults.append(fault)
    about = next((about for _, about in calculations.values()), {})
    return IsolatedAtoms(energies, about.get('label_source'), about.get(DFT_SETTINGS), tuple(faults))


def add_isolated_atoms(rows: Iterable[Row], atoms: IsolatedAtoms) -> list[Row]:
    """Return the rows with the energies of the isolated atoms of their elements.

    Raises
    ------
    AutopipeError
        If the labels of a row are at another level of theory.
    """
    completed = []
    for row in rows:
        source, settings = row.key_value_pairs.get('label_source'), row.data.get(DFT_SETTINGS)
        for name, found, expected in (
            ('label_source', atoms.label_source, source),
            (DFT_SETTINGS, atoms.settings, settings or atoms.settings),
        ):
            if found != expected:
                raise AutopipeError(
                    Code.LEVELS_MIXED,
                    f'the isolated atoms and the rows differ in {name}: {found} and {expected}; calculate both with '
                    'the same settings',
                )
        own = {symbol: energy for symbol, energy in atoms.energies.items() if symbol in row.atoms.symbols}
        known = row.data.get(ISOLATED_ATOMS, {}) | own
        completed.append(replace(row, data=row.data | {ISOLATED_ATOMS: known}) if known else row)
    return completed


def _read_about(path: Path, codes: Mapping[str, type[DftCode]]) -> dict[str, Any]:
    try:
        about = parse_json(path.read_bytes())
        known = (
            about['code'] in codes
            and about['element'] in atomic_numbers
            and str(about['label_source']).startswith('dft:')
            and bool(about[DFT_SETTINGS])
            and isinstance(about.get(REQUESTED, {}), dict)
        )
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise AutopipeError(Code.FILE_UNREADABLE, f'{path} is malformed; write the inputs again')
    return dict(about)


def _require_one_level(calculations: Sequence[tuple[Path, dict[str, Any]]]) -> None:
    for where, about in calculations[1:]:
        first, expected = calculations[0]
        for key in ('label_source', DFT_SETTINGS):
            if about[key] != expected[key]:
                raise AutopipeError(
                    Code.LEVELS_MIXED,
                    f'{first} and {where} differ in {key}: {expected[key]} and {about[key]}; calculate all isolated '
                    'atoms with the same settings',
                )
