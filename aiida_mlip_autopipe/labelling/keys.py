"""The identity of a label: its structure and its level of theory."""

from __future__ import annotations

import hashlib

import numpy as np
from ase import Atoms


def label_key(atoms: Atoms, level_hash: str) -> str:
    """Return the key of the label of a structure: ``label-`` and 16 hexadecimal digits.

    It covers the elements, positions, cell, periodicity, initial magnetic moments and initial charges, bit for bit, and
    the level of theory. Tags, constraints, velocities and the origin of the structure do not change a label.

    Parameters
    ----------
    atoms
        The structure.
    level_hash
        The hash of the level of theory (`LevelOfTheory.hash`).
    """
    digest = hashlib.sha256(level_hash.encode())
    digest.update(np.ascontiguousarray(atoms.numbers, dtype='<i8').tobytes())
    digest.update(np.ascontiguousarray(atoms.pbc, dtype='u1').tobytes())
    for array in (
        atoms.positions,
        atoms.cell.array,
        atoms.get_initial_magnetic_moments(),
        atoms.get_initial_charges(),
    ):
        # Adding 0 turns -0.0 into 0.0. The shape distinguishes collinear from non-collinear moments.
        values = np.ascontiguousarray(array, dtype='<f8') + 0.0
        digest.update(repr(values.shape).encode())
        digest.update(values.tobytes())
    return f'label-{digest.hexdigest()[:16]}'


def isolated_atom_key(symbol: str) -> str:
    """Return the key of an isolated atom in the files of a job."""
    return f'isolated-{symbol}'


def is_isolated(key: str) -> bool:
    """Return whether a key in the files of a job is that of an isolated atom."""
    return key.startswith(isolated_atom_key(''))
