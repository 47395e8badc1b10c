"""Two screw dislocations of opposite sign in a periodic crystal."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.generation.limits import check_size
from aiida_mlip_autopipe.generation.surfaces.stacking import Stack

N_IMAGES = 12  # images of the cell in each direction; the remainder of the sum is linear and is subtracted
MAX_PLANES = 1000  # maximum number of planes in a period along a direction
N_GRID = 24  # points along each vector, to find the point farthest from the rows of atoms


def screw_dipole(stack: Stack, separation_A: float, min_width_A: float) -> tuple[Atoms, float, float]:
    """Return a crystal with a screw dislocation along z and one of opposite sign, in a quadrupolar arrangement.

    Each atom is displaced along z by the isotropic field ``b θ / 2π`` of all dislocations (J. P. Hirth, J. Lothe,
    Theory of Dislocations, 2nd ed., 1982, ch. 3). The sum over periodic images is made periodic by subtracting a
    linear field, and the cell is tilted by the plastic strain of the dipole, so that the mean stress is zero (W.
    Cai, V. V. Bulatov, J. Chang, J. Li, S. Yip, Philos. Mag. 83, 539, 2003).

    Parameters
    ----------
    stack
        The crystal, with planes normal to the Burgers vector.
    separation_A
        Minimum distance between two dislocations of opposite sign in Å.
    min_width_A
        Minimum width of the cell in all directions in Å.

    Returns
    -------
    atoms
        The structure.
    burgers_A
        Length of the Burgers vector, the shortest lattice vector along the normal, in Å.
    distance_A
        Distance between neighbouring dislocations of opposite sign along the first cell vector in Å.

    Raises
    ------
    AutopipeError
        If the cell has too many atoms.
    """
    column = stack.faulted(_planes_per_period(stack), stack.gaps[0][1], 0.0)
    burgers_A = float(column.cell[2, 2])
    first, second = column.cell.array[:2, :2]
    across = _orthogonal(first, second)
    length, height = float(np.linalg.norm(first)), float(np.linalg.norm(across @ [first, second]))
    n_half = int(np.ceil(max(separation_A, min_width_A / 2) / length - 1e-9))
    n_across = int(np.ceil(max(separation_A, min_width_A) / height - 1e-9))
    n_along = int(max(1, np.ceil(min_width_A / burgers_A - 1e-9)))
    # The second vector is shifted by half of the first one, so that dislocations of opposite sign lie one above the
    # other.
    rows = [[2 * n_half, 0, 0], [*(n_across * across + [n_half, 0]).tolist(), 0], [0, 0, n_along]]
    distance_A = n_half * length
    check_size(
        len(column) * abs(np.linalg.det(rows)),
        f'a dipole of dislocations {distance_A:.1f} Å apart in a cell that is {min_width_A:.1f} Å wide',
    )
    atoms = _supercell(column, np.array(rows))
    plane = atoms.cell.array[:2, :2]
    core = _middle(column) + n_half // 2 * first + n_across // 2 * (across @ [first, second])
    other = core + n_half * first
    field = _periodic_field(plane, core, other)
    # The jump across the line between the two, which is along x, and the mean gradient that it contributes to the cell.
    middle, step = (core + other) / 2, np.array([0.0, 1e-6])
    jump = float(field(middle + step) - field(middle - step))
    slope = np.array([0.0, jump * n_half * length / abs(np.linalg.det(plane))])
    atoms.positions[:, 2] += burgers_A * (field(atoms.positions[:, :2]) + atoms.positions[:, :2] @ slope)
    atoms.cell[:2, 2] += burgers_A * (plane @ slope)
    atoms.wrap()
    return atoms, burgers_A, distance_A


def _planes_per_period(stack: Stack) -> int:
    """Return the number of lattice planes after which one lies exactly above the first."""
    plane, step = stack.atoms.cell.array[:2, :2], stack.atoms.cell.array[2, :2]
    fractions = np.arange(1, MAX_PLANES)[:, None] * np.linalg.solve(plane.T, step)
    return int(np.flatnonzero(np.abs(fractions - np.round(fractions)).max(axis=1) < 1e-6)[0]) + 1


def _periodic_field(plane: np.ndarray, core: np.ndarray, other: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return the displacement along z of a dipole and its images as a function of positions, in Burgers vectors."""
    shifts = np.array(list(product(range(-N_IMAGES, N_IMAGES + 1), repeat=2))) @ plane

    def bare(points: np.ndarray) -> np.ndarray:
        from_core, from_other = (
            (points[..., None, :] - centre - shifts) @ np.array([1, 1j]) for centre in (core, other)
        )
        # The angle of the ratio jumps only on the line between the two dislocations.
        return np.asarray(np.angle(from_core / from_other).sum(axis=-1) / (2 * np.pi))

    # A point off all of these lines.
    start = core + np.array([0.123, 0.31 * plane[1, 1]])
    linear = np.linalg.solve(plane, [float(bare(start + vector) - bare(start)) for vector in plane])
    return lambda points: bare(points) - points @ linear


def _orthogonal(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the integer coordinates of the shortest lattice vector normal to the first one."""
    pairs = product(range(-12, 13), range(1, 13))
    candidates = [(i, j) for i, j in pairs if abs((i * first + j * second) @ first) < 1e-6]
    return np.array(min(candidates, key=lambda pair: (pair[1], pair[0])))


def _middle(column: Atoms) -> np.ndarray:
    """Return the point of the plane (2,) that is farthest from all rows of atoms along z, in Å."""
    plane = column.cell.array[:2, :2]
    points = np.array(list(product(range(N_GRID), repeat=2))) / N_GRID
    vectors = points[:, None] - (column.positions[:, :2] @ np.linalg.inv(plane))[None]
    images = np.array(list(product((-1, 0, 1), repeat=2)))
    distances = np.linalg.norm((vectors - np.round(vectors))[:, :, None] @ plane + images @ plane, axis=3)
    return np.asarray(points[np.argmax(np.round(distances.min(axis=(1, 2)), 6))] @ plane)


def _supercell(column: Atoms, rows: np.ndarray) -> Atoms:
    from ase.build import make_supercell

    plain = Atoms(column.symbols, column.positions, cell=column.cell, pbc=True)
    if column.has('initial_charges'):
        plain.set_initial_charges(column.get_initial_charges())
    supercell: Atoms = make_supercell(plain, rows)
    return supercell
