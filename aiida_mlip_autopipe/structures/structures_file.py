"""Binary files of structures of various sizes, without energy, forces and stress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from aiida_mlip_autopipe.core.reading.arrays import open_npz, require_array
from aiida_mlip_autopipe.structures.trajectory import Trajectory

OPTIONAL = ('tags', 'initial_magmoms', 'initial_charges')
"""ASE arrays that a file contains only if one of its structures has them. In structures without one of them, its values
are 0."""


def write_structures(path: str | Path, trajectories: Sequence[Trajectory]) -> None:
    """Write the structures of all frames without loss of precision, in the order of the trajectories."""
    sizes = [np.full(len(one), len(one.numbers)) for one in trajectories]
    np.savez(
        path,
        n_atoms=np.concatenate(sizes),
        numbers=np.concatenate([np.tile(one.numbers, len(one)) for one in trajectories]),
        positions=np.concatenate([one.positions.reshape(-1, 3) for one in trajectories]),
        cells=np.concatenate([one.cells for one in trajectories]),
        pbc=np.concatenate([np.tile(np.asarray(one.pbc, dtype=bool), (len(one), 1)) for one in trajectories]),
    )


def structure_arrays(structures: Sequence[Atoms]) -> dict[str, np.ndarray]:
    """Return structures as the arrays of a file. There may be none."""
    arrays = {
        'n_atoms': np.array([len(atoms) for atoms in structures], dtype=int),
        'numbers': np.concatenate([np.empty(0, dtype=int), *(atoms.numbers for atoms in structures)]),
        'positions': np.concatenate([np.empty((0, 3)), *(atoms.positions for atoms in structures)]),
        'cells': np.array([atoms.cell.array for atoms in structures]),
        'pbc': np.array([atoms.pbc for atoms in structures]),
    }
    for name in OPTIONAL:
        if any(atoms.has(name) for atoms in structures):
            arrays[name] = np.concatenate([_array(atoms, name) for atoms in structures])
    return arrays


def _array(atoms: Atoms, name: str) -> np.ndarray:
    return np.asarray(atoms.arrays.get(name, np.zeros(len(atoms), dtype=int if name == 'tags' else float)))


class Structures:
    """The structures of a file. A structure is created only when the iteration reaches it.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read or is damaged, or its arrays do not describe structures.
    """

    def __init__(self, path: Path):
        with open_npz(path) as arrays:
            sizes = require_array(arrays, 'n_atoms', 'integer', None)
            if (sizes < 0).any():
                raise ValueError('a number of atoms is negative')
            # Python's integers do not overflow.
            n, m = sum(sizes.tolist()), len(sizes)
            numbers = require_array(arrays, 'numbers', 'integer', n)
            if not np.isin(numbers, np.arange(len(chemical_symbols))).all():
                raise ValueError('an atomic number is invalid')
            self._arrays = {
                'n_atoms': sizes,
                'numbers': numbers,
                'positions': require_array(arrays, 'positions', 'float', n, 3, finite=True),
                'cells': arrays['cells'] if not m else require_array(arrays, 'cells', 'float', m, 3, 3, finite=True),
                'pbc': arrays['pbc'] if not m else require_array(arrays, 'pbc', 'Boolean', m, 3),
            }
            self._optional = {
                name: require_array({name: arrays[name]}, name, 'number', n, *arrays[name].shape[1:2])
                for name in OPTIONAL
                if name in arrays
            }

    def __len__(self) -> int:
        return len(self._arrays['n_atoms'])

    def __iter__(self) -> Iterator[Atoms]:
        ends = np.cumsum(self._arrays['n_atoms'])
        for index, end in enumerate(ends):
            of_atoms = slice(end - self._arrays['n_atoms'][index], end)
            atoms = Atoms(
                numbers=self._arrays['numbers'][of_atoms],
                positions=self._arrays['positions'][of_atoms],
                cell=self._arrays['cells'][index],
                pbc=self._arrays['pbc'][index],
            )
            for name, array in self._optional.items():
                if array[of_atoms].any():
                    atoms.set_array(name, array[of_atoms])
            yield atoms

    @property
    def sizes(self) -> np.ndarray:
        """Number of atoms of each structure."""
        sizes: np.ndarray = self._arrays['n_atoms']
        return sizes

    @property
    def numbers(self) -> set[int]:
        """Atomic numbers of all elements that occur."""
        return {int(z) for z in np.unique(self._arrays['numbers'])}
