"""The level of theory of imported labels: from the user, from the outputs of a DFT code, or from both."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage.dataset import Dataset
from aiida_mlip_autopipe.structures.rows.keys import LEVEL
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory, describe_difference
from aiida_mlip_autopipe.structures.vacuum import MAX_LAYER_OF_CRYSTAL_A, empty_layers

METHODS = ('mlip', 'dft', 'unknown')
BY_ELEMENT = ('potentials', 'hubbard_U_eV')
"""Parameters that are mappings by element."""
SPACING = 'kspacing_per_A'
"""Parameter with the largest spacing of the k-points, 1/Å."""

PARAMETERS = (
    *('version', 'functional', 'dispersion', 'vdw_functional', 'exact_exchange', 'screening_per_A'),
    *('cutoff_eV', 'density_cutoff_eV', 'basis', 'potentials', SPACING, 'smearing', 'smearing_width_eV'),
    *('spin', 'spin_orbit', 'hubbard', 'hubbard_U_eV', 'precision', 'energy_tolerance_eV', 'real_space_projection'),
    *('aspherical_corrections', 'additional_grid', 'pulay_stress_kbar', 'model', 'model_sha256', 'head'),
)
"""Names of parameters that a user may write next to the method. Others must be under ``parameters``."""

ID_FILE = 'row.json'
"""File next to the inputs of a DFT calculation that this program wrote. It names the row and contains the settings."""


def k_spacing(atoms: Atoms, mesh: Sequence[int | str] | None) -> float | None:
    """Return the largest spacing of a mesh of k-points in 1/Å, including the factor 2π, to three decimals.

    Directions across a vacuum, which have one k-point, do not count.

    Parameters
    ----------
    atoms
        The structure.
    mesh
        Number of k-points along each reciprocal lattice vector; None if it is unknown.

    Returns
    -------
    float or None
        None if the mesh is unknown or no direction counts.
    """
    if mesh is None:
        return None
    numbers = np.array([int(number) for number in mesh])
    lengths = 2 * np.pi * np.linalg.norm(atoms.cell.reciprocal(), axis=1)
    counted = (numbers > 1) | (empty_layers(atoms) < MAX_LAYER_OF_CRYSTAL_A)
    return round(float((lengths / numbers)[counted].max()), 3) if counted.any() else None


def join_levels(first: LevelOfTheory, second: LevelOfTheory, *, same_spacing: bool = False) -> LevelOfTheory:
    """Return the level of two files with the same settings.

    Parameters by element are merged as in `complete_elements`. Meshes of k-points depend on the cell, so the spacing of
    the level is the largest of all files.

    Parameters
    ----------
    first, second
        The levels.
    same_spacing
        Whether the spacings must be equal, because they were requested and do not depend on the cell.

    Raises
    ------
    AutopipeError
        If the levels differ in another field.
    """
    spacings = [level.parameters[SPACING] for level in (first, second) if SPACING in level.parameters]
    spacing = {SPACING: max(spacings)} if spacings and not same_spacing else {}
    joined, completed = complete_elements(_with(first, spacing), _with(second, spacing))
    if joined.hash != completed.hash:
        raise AutopipeError(
            Code.LEVELS_MIXED,
            f'the files have different levels of theory: {describe_difference(joined, completed)}; import them '
            'separately, or set the fields with --level',
        )
    return joined


def complete_elements(first: LevelOfTheory, second: LevelOfTheory) -> tuple[LevelOfTheory, LevelOfTheory]:
    """Return two levels, each with the potentials and Hubbard parameters of the elements of both.

    A level lists only the elements of its dataset. Two levels with the same settings are therefore the same afterwards.
    """
    one, other = (level.parameters for level in (first, second))
    shared = [name for name in BY_ELEMENT if isinstance(one.get(name), dict) and isinstance(other.get(name), dict)]
    return (
        _with(first, {name: {**other[name], **one[name]} for name in shared}),
        _with(second, {name: {**one[name], **other[name]} for name in shared}),
    )


def level_of_inputs(about: Mapping[str, Any], found: LevelOfTheory | None) -> LevelOfTheory:
    """Return the level of theory of a calculation whose inputs this program wrote.

    Parameters
    ----------
    about
        The content of the ``row.json`` next to the inputs.
    found
        The level from the output; None if the output does not contain it.
    """
    name = str(about['label_source'])
    parameters = {'label_source': name} if found is None else dict(found.parameters)
    settings = about.get('settings')
    if settings is not None:
        # The mesh of k-points depends on the cell, the requested spacing does not.
        parameters[SPACING] = settings['kspacing_per_A']
    return LevelOfTheory(method='dft', code=about['code'], name=name, parameters=parameters)


def level_of_output(path: Path, found: LevelOfTheory) -> LevelOfTheory:
    """Return the level of theory of an output file, by the settings of its inputs if this program wrote them."""
    try:
        about = json.loads((path.parent / ID_FILE).read_text())
        is_own = about['code'] == found.code and str(about['label_source']).startswith('dft:')
    except (OSError, ValueError, KeyError, TypeError):
        return found
    return level_of_inputs(about, found) if is_own else found


def complete_level(given: Mapping[str, Any] | LevelOfTheory | None, found: LevelOfTheory | None) -> LevelOfTheory:
    """Return the level of theory of labels from what the user gives and what the file contains.

    Parameters
    ----------
    given
        The level of a dataset, or a mapping with ``method``, ``code``, ``name`` and any of `PARAMETERS`, such as
        ``functional``. Further parameters are under ``parameters``.
        Parameters of the mapping complete or replace those of the file. The level of a dataset gets only the potentials
        of other elements from the file.
    found
        The level from the file, if it contains one.

    Raises
    ------
    AutopipeError
        If a field is unknown, if the method or the code is missing or differs from that of the file, or if the level of
        a dataset and the level of the file differ in a field that both have.
    """
    if isinstance(given, LevelOfTheory):
        if found is None:
            return given
        _require_no_conflict(given, found)
        return complete_elements(given, found)[0]
    fields = dict(given or {})
    for name in sorted(fields.keys() - {'method', 'code', 'name', 'parameters', *PARAMETERS}):
        near = get_close_matches(name, PARAMETERS, 1)
        raise AutopipeError(
            Code.KEY_UNKNOWN,
            f'level.{name}: this field is unknown'
            + (f'; did you mean {near[0]}?' if near else f'; write parameters: {{{name}: …}} if it affects the labels'),
        )
    if found is not None:
        fields = {'method': found.method, 'code': found.code, 'name': found.name} | fields
    for key in ('method', 'code'):
        if not isinstance(fields.get(key), str):
            raise AutopipeError(
                Code.VALUE_MISSING,
                f'level.{key}: the level of theory needs a method and a code; set them with --level, such as '
                '"{method: dft, code: vasp, functional: pbe, cutoff_eV: 520}"',
            )
        if found is not None and fields[key] != getattr(found, key):
            raise AutopipeError(
                Code.LEVELS_MIXED, f'level.{key}: got {fields[key]}, but the file has {getattr(found, key)}'
            )
    if fields['method'] not in METHODS:
        raise AutopipeError(
            Code.CHOICE_UNKNOWN, f'level.method: got {fields["method"]}; use one of {", ".join(METHODS)}'
        )
    method, code, name = fields.pop('method'), fields.pop('code'), fields.pop('name', None)
    if not isinstance(fields.get('parameters') or {}, Mapping):
        raise AutopipeError(
            Code.VALUE_INVALID,
            f'level.parameters: got {fields["parameters"]}; a mapping of names to values is required',
        )
    parameters = {**(found.parameters if found is not None else {}), **(fields.pop('parameters', None) or {}), **fields}
    name = name or _name(method, code, parameters)
    if not re.match(rf'{method}:\S', str(name)):
        raise AutopipeError(Code.WRONG_PATTERN, f'level.name: got {name}; it must begin with {method}:')
    # The name is not part of the identity, so a level without parameters would equal all others of its code.
    return LevelOfTheory(method=method, code=code, name=str(name), parameters=parameters or {'label_source': str(name)})


def level_from_name(name: str) -> dict[str, Any]:
    """Return the fields of a level that is known only by a name such as ``dft:vasp:pbe-520eV``.

    Raises
    ------
    AutopipeError
        If the name does not have this form.
    """
    match = re.fullmatch(r'(\w+):([^:\s]+)(:\S+)?', name)
    if match is None or match[1] not in METHODS:
        raise AutopipeError(
            Code.WRONG_PATTERN,
            f'--level: got {name}; use a YAML file, a dataset, a mapping in braces or a name such as dft:vasp:pbe',
        )
    return {'method': match[1], 'code': match[2], 'name': name}


def level_of_dataset(path: Path) -> LevelOfTheory:
    """Return the level of theory of a dataset.

    Raises
    ------
    AutopipeError
        If the dataset does not exist, has no rows, or has no or several levels.
    """
    levels: dict[str, LevelOfTheory] = {}
    with Dataset(path) as dataset:
        for row in dataset.first_rows(LEVEL):
            level = row.level
            if level is None:
                raise AutopipeError(Code.ROW_KEY_MISSING, f'row {row.id} of {path} has no key label_source')
            levels[level.hash] = level
    if not levels:
        raise AutopipeError(Code.DATASET_EMPTY, f'{path} has no rows, so it has no level of theory')
    first, *others = levels.values()
    if others:
        raise AutopipeError(
            Code.LEVELS_MIXED, f'{path} has several levels of theory: {describe_difference(first, others[0])}'
        )
    return first


def _require_no_conflict(given: LevelOfTheory, found: LevelOfTheory) -> None:
    """Compare the fields that both levels have."""
    both = {name: value for name, value in found.parameters.items() if name in given.parameters}
    for name in BY_ELEMENT:
        if name in both:
            known = given.parameters[name]
            both[name] = known | {element: value for element, value in both[name].items() if element in known}
    if both.get(SPACING, 0) <= given.parameters.get(SPACING, 0):
        both.pop(SPACING, None)
    other = _with(given, both).model_copy(update={'method': found.method, 'code': found.code})
    if other.hash != given.hash:
        raise AutopipeError(
            Code.LEVELS_MIXED,
            f'the level of theory of the file differs from --level: {describe_difference(given, other)}',
        )


def _with(level: LevelOfTheory, parameters: Mapping[str, Any]) -> LevelOfTheory:
    return LevelOfTheory.model_validate(level.model_dump() | {'parameters': {**level.parameters, **parameters}})


def _name(method: str, code: str, parameters: Mapping[str, Any]) -> str:
    cutoff, functional = parameters.get('cutoff_eV'), parameters.get('functional')
    parts = [str(functional).lower()] if functional else []
    parts += [f'{cutoff:g}eV'] if isinstance(cutoff, int | float) else []
    return ':'.join(filter(None, [method, code, '-'.join(parts)]))
