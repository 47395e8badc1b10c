"""Read structure files in any format that ASE supports."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.generation.files.cif import OCCUPANCY_TOLERANCE, check_cif, merge_images
from aiida_mlip_autopipe.generation.files.lammps import (
    LAMMPS_FORMATS,
    MASS_TOLERANCE,
    check_lammps,
    is_lammps_data,
    type_arguments,
)
from aiida_mlip_autopipe.generation.files.xyz import check_xyz
from aiida_mlip_autopipe.structures.cells import complete_cell
from aiida_mlip_autopipe.structures.seed import fixed_mask

# Key of a structure's database id in the file with the answer to a query.
DATABASE_ID = 'database_id'
# Key of the list of properties in a file that a seed cannot keep.
DROPPED = 'dropped'
# Key of the site occupancies of a disordered structure.
OCCUPANCIES = 'occupancies'


def read_structures(path: Path, frames: str = ':', types: Sequence[str] = (), *, partial: bool = False) -> list[Atoms]:
    """Read structures from a file: elements, positions, cell, tags, magnetic moments, charges and FixAtoms constraints.

    Momenta, masses, and moments and charges from a calculation are not kept. If a structure has them,
    ``info['dropped']`` lists them.

    Parameters
    ----------
    path
        The file.
    frames
        The frames to read, as a Python index or slice.
    types
        The elements of the atom types of a LAMMPS file that does not name them.
    partial
        Whether sites of CIF files may be partially occupied. ``info['occupancies']`` then lists the occupancies of each
        site of such a structure by element.

    Raises
    ------
    AutopipeError
        If the file cannot be read, does not fully define the structures, or has a structure that cannot be explored.
    """
    from ase.io import read
    from ase.io.formats import ioformats

    form = _format(path)
    # A single index is read as a slice: readers clip an index that is out of range, or fail without a message.
    index = frames if ':' in frames else f'{frames}:{int(frames) + 1 or ""}'
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # readers warn about guesses; the structure is checked below
            found = read(path, index=index, format=form, **type_arguments(form, types))
    except Exception as error:  # readers raise various errors for invalid files
        _check_text(path, form, index)
        if types and form in LAMMPS_FORMATS and isinstance(error, LookupError):
            listed = f'lammps_types has {len(types)} element{"s" if len(types) > 1 else ""}'
            raise AutopipeError(Code.ELEMENTS_MISSING, f'{path}: {listed}, but the file has more atom types') from error
        if isinstance(error, AssertionError) and frames != ':' and ioformats[form].single:
            found = []  # readers of formats with one structure assert that it is the one requested
        else:
            reason = ' '.join(str(error).split()) or type(error).__name__
            raise AutopipeError(
                Code.FILE_UNREADABLE, f'the structure file {path} cannot be read as {form}: {reason}'
            ) from error
    if not found:
        raise AutopipeError(Code.OUT_OF_RANGE, f'the structure file {path} has no structure at {frames!r}')
    if form == 'cif':
        check_cif(path, _as_slice(index), partial=partial)
        found = [merge_images(atoms) for atoms in found]
    if form in LAMMPS_FORMATS and not types:
        for atoms in found:
            check_lammps(path, form, atoms)
    partial = partial and form == 'cif'
    return [_clean(atoms, f'structure {number} of {path}', partial=partial) for number, atoms in enumerate(found)]


def _format(path: Path) -> str:
    """Return ASE's name for the format of a file."""
    from ase.io.formats import UnknownFileTypeError, filetype

    try:
        return 'lammps-data' if is_lammps_data(path) else str(filetype(str(path)))
    except UnknownFileTypeError as error:
        raise AutopipeError(
            Code.FILE_UNREADABLE, f'the structure file {path} cannot be read: ASE does not support its format'
        ) from error
    except OSError as error:
        code = Code.FILE_MISSING if isinstance(error, FileNotFoundError) else Code.FILE_UNREADABLE
        raise AutopipeError(code, f'the structure file {path} cannot be read: {error.strerror or error}') from error


def _as_slice(index: str) -> slice:
    return slice(*(int(part) if part else None for part in index.split(':')))


def _check_text(path: Path, form: str, index: str) -> None:
    """Report what is wrong in a file that ASE could not read, if the checks of its format find it."""
    if form in ('xyz', 'extxyz'):
        check_xyz(path)
    if form == 'cif':
        try:
            check_cif(path, _as_slice(index))
        except AutopipeError:
            raise
        except Exception:  # the parser refuses the file too; the error of the reader is reported
            return


def _clean(atoms: Atoms, name: str, *, partial: bool) -> Atoms:
    if not len(atoms):
        raise AutopipeError(Code.STRUCTURE_UNUSABLE, f'{name} has no atoms')
    if not atoms.numbers.all():
        raise AutopipeError(Code.STRUCTURE_UNUSABLE, f'{name} has a site without an element (X)')
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise AutopipeError(Code.STRUCTURE_UNUSABLE, f'{name} has positions or cell vectors that are not finite')
    occupied = _partial_sites(atoms)
    if occupied and not partial:
        raise AutopipeError(
            Code.OCCUPANCY_PARTIAL,
            f'{name} has partially occupied sites: {occupied}; put one atom on each site or leave it empty',
        )
    try:
        fixed_mask(atoms)
    except ValueError as error:
        raise AutopipeError(Code.STRUCTURE_UNUSABLE, f'{name} cannot be used: {error}') from None
    # A direction without a cell vector is not periodic, even if the file says that it is.
    pbc = atoms.pbc & atoms.cell.array.any(axis=1)
    if pbc.all() and abs(atoms.cell.volume) < 1e-6:
        raise AutopipeError(Code.STRUCTURE_UNUSABLE, f'{name} has a cell of zero volume')
    kept = Atoms(numbers=atoms.numbers, positions=_move_from_far_faces(atoms, pbc), cell=atoms.cell, pbc=pbc)
    kept.set_constraint(atoms.constraints)
    kept.info = {DATABASE_ID: atoms.info[DATABASE_ID]} if DATABASE_ID in atoms.info else {}
    if occupied:
        by_kind = {str(kind): dict(found) for kind, found in atoms.info['occupancy'].items()}
        kept.info[OCCUPANCIES] = [by_kind[str(kind)] for kind in atoms.arrays['spacegroup_kinds']]
    if dropped := _dropped(atoms):
        kept.info[DROPPED] = dropped
    if atoms.get_tags().any():
        kept.set_tags(atoms.get_tags())
    if atoms.has('initial_magmoms'):
        kept.set_initial_magnetic_moments(atoms.get_initial_magnetic_moments())
    if atoms.has('initial_charges'):
        kept.set_initial_charges(atoms.get_initial_charges())
    return kept


def _partial_sites(atoms: Atoms) -> str:
    """Return the sites that are not occupied by exactly one atom, with their occupancies; empty if all are."""
    sites: dict[str, dict[str, float]] = {}
    given = atoms.info.get('occupancy')  # by the number of the site; from CIF files
    if isinstance(given, dict):
        sites = {str(site): occupancies for site, occupancies in given.items() if isinstance(occupancies, dict)}
    for name in ('occupancy', 'occupancies'):
        if atoms.has(name):
            # Molecular dynamics programs write 0 for all atoms in PDB files.
            values = [(site, float(value)) for site, value in enumerate(atoms.arrays[name]) if value]
            sites |= {str(site): {atoms.symbols[site]: value} for site, value in values}
    return ', '.join(
        f'site {site} ({", ".join(f"{symbol} {value:g}" for symbol, value in occupancies.items())})'
        for site, occupancies in sites.items()
        if len(occupancies) > 1 or abs(sum(occupancies.values()) - 1) > OCCUPANCY_TOLERANCE
    )


def _dropped(atoms: Atoms) -> list[str]:
    """Return the properties of a structure in a file that a seed cannot keep."""
    results: dict[str, Any] = getattr(atoms.calc, 'results', {})
    dropped = ['momenta'] if atoms.has('momenta') and atoms.get_momenta().any() else []
    if not np.allclose(atoms.get_masses(), Atoms(numbers=atoms.numbers).get_masses(), atol=MASS_TOLERANCE):
        dropped.append('masses')
    # Readers of some formats copy computed values to the initial ones, which are kept.
    if 'magmoms' in results and not np.array_equal(results['magmoms'], atoms.get_initial_magnetic_moments()):
        dropped.append('computed magnetic moments')
    if 'charges' in results and not np.array_equal(results['charges'], atoms.get_initial_charges()):
        dropped.append('computed charges')
    return dropped


def describe_dropped(named: Iterable[tuple[str, Atoms]]) -> list[str]:
    """Return one sentence for each file or molecule with properties that a seed cannot keep."""
    dropped: dict[str, dict[str, None]] = {}
    for name, atoms in named:
        dropped.setdefault(name, {}).update(dict.fromkeys(atoms.info.get(DROPPED, ())))
    return [f'{name}: {" and ".join(what)} are not kept' for name, what in dropped.items() if what]


def _move_from_far_faces(atoms: Atoms, pbc: np.ndarray) -> np.ndarray:
    """Return positions, with atoms that a reader's rounding put on a far face of the cell moved to the near face."""
    if not pbc.any():
        return np.asarray(atoms.positions)
    fractions = atoms.positions @ np.linalg.inv(complete_cell(atoms))
    far = (np.abs(fractions - 1) < 1e-9) & pbc
    return np.asarray(atoms.positions - far.astype(float) @ atoms.cell.array)
