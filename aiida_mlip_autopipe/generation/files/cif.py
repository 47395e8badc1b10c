"""Checks of CIF files: partial occupancies, unknown coordinates, and ambiguous settings of the space group."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError

OCCUPANCY_TOLERANCE = 1e-3
# Å; images of a site that are closer than this are one atom. With 0.333 for 1/3, they are up to 0.001 of a cell vector
# apart.
SAME_SITE = 0.1
SAME_FRACTION = 1e-3  # of a cell vector, as in ASE's reader
COORDINATES = tuple(f'_atom_site_fract_{axis}' for axis in 'xyz')
OPERATIONS = ('_space_group_symop_operation_xyz', '_space_group_symop.operation_xyz', '_symmetry_equiv_pos_as_xyz')
NAMES = ('_space_group_name_h-m_alt', '_symmetry_space_group_name_h-m')
# Choices of axes that a space group without a symbol has by convention, in the notation of spglib.
STANDARD_CHOICES = ('', 'b', 'b1', '1', '2', 'H', 'R')
N_HALL_NUMBERS = 530


def check_cif(path: Path, chosen: slice, *, partial: bool = False) -> None:
    """Refuse structures that the file does not fully define, or that ASE could read in the wrong setting.

    Parameters
    ----------
    path
        The file.
    chosen
        Which of the structures are read.
    partial
        Whether partially occupied sites are allowed.

    Raises
    ------
    AutopipeError
        If a site is partially occupied or its occupancy is invalid, if it has no coordinates, or if the symmetry
        operations are missing and the space group has several settings.
    """
    from ase.io.cif import parse_cif

    blocks = [block for block in parse_cif(str(path)) if block.has_structure()]
    for block in blocks[chosen]:
        place = f'{path}, block {block.name}'
        labels = block.get('_atom_site_label') or block.get_symbols()
        _check_coordinates(block, labels, place)
        _check_occupancies(block, labels, place, partial=partial)
        if not any(block.get(name) for name in OPERATIONS):
            _check_setting(block, place)


def _check_coordinates(block: Mapping[str, Any], labels: list[str], place: str) -> None:
    for name in COORDINATES:
        for label, value in zip(labels, block.get(name) or [], strict=False):
            if not isinstance(value, int | float):
                raise AutopipeError(
                    Code.STRUCTURE_UNUSABLE, f'{place}: {name} of site {label} is {value!r}, not a number'
                )


def _check_occupancies(block: Any, labels: list[str], place: str, *, partial: bool) -> None:
    """Refuse sites that are not occupied by exactly one atom. If these are allowed, refuse impossible occupancies."""
    given = block.get('_atom_site_occupancy')
    if given is None:
        return
    if partial:
        _check_sums(block, labels, given, place)
        return
    found = [
        f'{label} {value}'
        for label, value in zip(labels, given, strict=True)
        if not isinstance(value, int | float) or abs(value - 1) > OCCUPANCY_TOLERANCE
    ]
    if found:
        raise AutopipeError(
            Code.OCCUPANCY_PARTIAL,
            f'{place}: partially occupied sites: {", ".join(found)}; set partial_occupancy: order in an entry of '
            'kind structures, or write an ordered structure with occupancy 1 for each site',
        )


def _check_sums(block: Any, labels: list[str], given: list[Any], place: str) -> None:
    """Refuse occupancies that are not numbers from 0 to 1, sites with more than one atom, and elements listed twice."""
    positions = np.array([block[name] for name in COORDINATES], dtype=float).T % 1.0
    symbols = block.get_symbols()
    for number, (label, value) in enumerate(zip(labels, given, strict=True)):
        if not isinstance(value, int | float) or not 0 < value <= 1 + OCCUPANCY_TOLERANCE:
            raise AutopipeError(
                Code.OCCUPANCY_PARTIAL, f'{place}: the occupancy of site {label} is {value!r}; it must be in (0, 1]'
            )
        away = np.abs(positions - positions[number])
        same = np.flatnonzero((np.minimum(away, 1 - away) < SAME_FRACTION).all(axis=1))
        total = sum(float(given[other]) for other in same if isinstance(given[other], int | float))
        if total > 1 + OCCUPANCY_TOLERANCE:
            raise AutopipeError(
                Code.OCCUPANCY_PARTIAL, f'{place}: the occupancies at the position of {label} sum to {total:g}, above 1'
            )
        if [symbols[other] for other in same].count(symbols[number]) > 1:
            raise AutopipeError(
                Code.OCCUPANCY_PARTIAL,
                f'{place}: {symbols[number]} is listed more than once at the position of {label}; add its occupancies',
            )


def _check_setting(block: Any, place: str) -> None:
    """Refuse a space group in which ASE uses symmetry operations other than those of the symbol and the cell."""
    group = block.get_spacegroup(True)
    if group.no == 1:
        return
    name = next((block[name] for name in NAMES if block.get(name)), None)
    gamma = float(block.get('_cell_angle_gamma', 90))
    other_axes = 'R' if abs(gamma - 120) < 1e-3 else 'H'
    settings = [
        found
        for found in _settings(group.no)
        if found.choice != other_axes
        and (found.choice in STANDARD_CHOICES if name is None else _normal(name) in _names(found))
    ]
    used = _as_set(*group.get_op())
    if not settings or any(_operations(found.hall_number) != used for found in settings):
        raise AutopipeError(
            Code.SETTING_AMBIGUOUS,
            f'{place}: the symmetry operations are missing, and the space group {name or group.no} has several '
            f'settings; add the operations as {OPERATIONS[-1]}',
        )


def _names(setting: Any) -> set[str]:
    short, _, full = setting.international.rpartition('=')
    # In spglib, all settings have the short symbol of the standard axes.
    return {_normal(symbol) for symbol in ([short, full] if setting.choice in STANDARD_CHOICES else [full])}


def _normal(symbol: str) -> str:
    return symbol.partition(':')[0].replace(' ', '').replace('_', '').lower()


@cache
def _settings(number: int) -> list[Any]:
    """Return the settings of a space group."""
    import spglib

    types = [spglib.get_spacegroup_type(hall) for hall in range(1, N_HALL_NUMBERS + 1)]
    return [found for found in types if found is not None and found.number == number]


def _operations(hall_number: int) -> set[bytes]:
    import spglib

    found = spglib.get_symmetry_from_database(hall_number)
    return _as_set(found['rotations'], found['translations'])


def _as_set(rotations: np.ndarray, translations: np.ndarray) -> set[bytes]:
    shifts = np.round(np.asarray(translations) * 24).astype(int) % 24
    return {np.column_stack([r, t]).astype(int).tobytes() for r, t in zip(rotations, shifts, strict=True)}


def merge_images(atoms: Atoms) -> Atoms:
    """Keep only the first of the images of a site that differ because its coordinates are rounded."""
    from matscipy.neighbours import neighbour_list

    i, j = neighbour_list('ij', positions=atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc, cutoff=SAME_SITE)
    repeated = sorted({int(b) for a, b in zip(i, j, strict=True) if a < b and atoms.numbers[a] == atoms.numbers[b]})
    if repeated:
        del atoms[repeated]
    return atoms
