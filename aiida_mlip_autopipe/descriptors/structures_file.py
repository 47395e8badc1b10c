"""Binary files of structures of various sizes, without energy, forces and stress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.structures.trajectory import Trajectory


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
    """Return structures as the arrays of a file."""
    return {
        'n_atoms': np.array([len(atoms) for atoms in structures]),
        'numbers': np.concatenate([atoms.numbers for atoms in structures]),
        'positions': np.concatenate([atoms.positions for atoms in structures]),
        'cells': np.array([atoms.cell.array for atoms in structures]),
        'pbc': np.array([atoms.pbc for atoms in structures]),
    }


class Structures:
    """The structures of a file. A structure is created only when the iteration reaches it.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path):
        with np.load(path) as arrays:
            self._arrays = {name: arrays[name] for name in ('n_atoms', 'numbers', 'positions', 'cells', 'pbc')}

    def __len__(self) -> int:
        return len(self._arrays['n_atoms'])

    def __iter__(self) -> Iterator[Atoms]:
        ends = np.cumsum(self._arrays['n_atoms'])
        for index, end in enumerate(ends):
            atoms = slice(end - self._arrays['n_atoms'][index], end)
            yield Atoms(
                numbers=self._arrays['numbers'][atoms],
                positions=self._arrays['positions'][atoms],
                cell=self._arrays['cells'][index],
                pbc=self._arrays['pbc'][index],
            )

    @property
    def sizes(self) -> np.ndarray:
        """Number of atoms of each structure."""
        sizes: np.ndarray = self._arrays['n_atoms']
        return sizes

    @property
    def numbers(self) -> set[int]:
        """Atomic numbers of all elements that occur."""
        return {int(z) for z in np.unique(self._arrays['numbers'])}
