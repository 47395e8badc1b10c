"""Detection of overlapping atoms with matscipy and by checking all pairs: `python benchmarks/neighbours.py`.

Each Monte Carlo trial calls `find_overlap`. An earlier implementation found the nearest image of each pair by
rounding. It was correct only for cutoffs below half the perpendicular widths of the cell.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.data import covalent_radii

from aiida_mlip_autopipe.structures.distances import find_overlap

FACTOR = 0.5


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Return the CPU time of one call in ms: the smallest of five averages."""
    spent = []
    for _ in range(5):
        started = time.process_time()
        for _ in range(repeats):
            work()
        spent.append((time.process_time() - started) / repeats)
    return 1000 * min(spent)


def overlaps_by_all_pairs(atoms: Atoms) -> bool:
    cell, positions = atoms.cell.array, atoms.positions
    vectors = positions[:, np.newaxis] - positions
    vectors -= np.round(vectors @ np.linalg.inv(cell)) @ cell
    distances = np.sqrt((vectors**2).sum(axis=2))
    np.fill_diagonal(distances, np.inf)
    radii = covalent_radii[atoms.numbers]
    return bool((distances < FACTOR * (radii[:, np.newaxis] + radii)).any())


def overlaps(atoms: Atoms) -> bool:
    return find_overlap(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, FACTOR) is not None


def main() -> None:
    """Print one line for each structure."""
    hydrogen = molecule('H2')
    hydrogen.center(vacuum=50.0)
    hydrogen.pbc = True
    structures = [bulk('Cu', cubic=True) * (n, n, n) for n in (1, 2, 3, 4, 6)]
    structures += [fcc111('Cu', (4, 4, 4), vacuum=15.0, periodic=True), hydrogen]
    for atoms in structures:
        atoms.rattle(0.05, seed=1)
        assert overlaps(atoms) == overlaps_by_all_pairs(atoms)
        repeats = max(1, 200_000 // len(atoms) ** 2) if len(atoms) > 30 else 200
        by_list = milliseconds(lambda atoms=atoms: overlaps(atoms), repeats)
        by_pairs = milliseconds(lambda atoms=atoms: overlaps_by_all_pairs(atoms), repeats)
        ratio = by_pairs / by_list
        print(f'{atoms.symbols!s:6s} matscipy: {by_list:7.3f} ms, all pairs: {by_pairs:8.3f} ms, ratio: {ratio:.1f}')


if __name__ == '__main__':
    main()
