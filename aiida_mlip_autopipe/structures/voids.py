"""Interstitial sites: the points of a crystal farthest from its atoms."""

from __future__ import annotations

from itertools import product

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.structures.cells import complete_cell, perpendicular_widths

# Å; a larger void is vacuum, since an interstitial site has atoms on all sides.
MAX_RADIUS = 4.0
MERGE_DISTANCE = 0.3  # Å; vertices closer than this are the same void
TOUCH_TOLERANCE = 0.01  # Å; an atom touches a void if it is at most this far outside the radius of the void


def find_voids(atoms: Atoms, fraction: float = 0.85) -> np.ndarray:
    """Return the centres of the largest voids in Å, shape (m, 3), largest first.

    Voids are vertices of the Voronoi tessellation (as in A. Goyal et al., Comput. Mater. Sci. 130, 1, 2017). Voids with
    a radius of at least `fraction` of the largest radius are returned. In a slab, only voids between atoms count.

    Parameters
    ----------
    atoms
        The structure.
    fraction
        Minimum radius of a void, as a fraction of the largest radius.
    """
    from scipy.spatial import Voronoi, cKDTree

    cell, fractions, images = with_images(atoms)
    vertices = Voronoi(images).vertices
    inside = np.linalg.solve(cell.T, vertices.T).T
    low, high = fractions.min(axis=0), fractions.max(axis=0)
    keep = np.where(atoms.pbc, (inside > -1e-6) & (inside < 1 - 1e-6), (inside > low) & (inside < high)).all(axis=1)
    vertices = vertices[keep & np.isfinite(vertices).all(axis=1)]
    if not len(vertices):
        return np.zeros((0, 3))
    tree = cKDTree(images)
    radii = tree.query(vertices)[0]
    vertices, radii = vertices[radii < MAX_RADIUS], radii[radii < MAX_RADIUS]
    touching = tree.query_ball_point(vertices, radii + TOUCH_TOLERANCE)
    enclosed = [_is_enclosed(vertex, images[near]) for vertex, near in zip(vertices, touching, strict=True)]
    vertices, radii = vertices[enclosed], radii[enclosed]
    if not len(vertices):
        return np.zeros((0, 3))
    order = np.lexsort((*np.round(vertices, 2).T, -np.round(radii, 2)))
    order = order[radii[order] >= fraction * radii[order[0]]]
    return np.asarray(vertices[order[distinct_points(vertices[order], atoms)]])


def with_images(atoms: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a structure with the images of its atoms around the cell.

    Returns
    -------
    cell
        The complete cell (3, 3) in Å.
    fractions
        Fractional coordinates of the atoms (n, 3).
    images
        Positions of the atoms and of their images up to `MAX_RADIUS` from the cell (m, 3), in Å.
    """
    cell = complete_cell(atoms)
    fractions = np.linalg.solve(cell.T, atoms.positions.T).T
    fractions[:, atoms.pbc] %= 1.0
    shifts = np.array(list(product((-1, 0, 1), repeat=3)))
    shifts = shifts[(shifts == 0)[:, ~atoms.pbc].all(axis=1)]
    images = (fractions[None] + shifts[:, None]).reshape(-1, 3)
    margin = np.where(atoms.pbc, 1.05 * MAX_RADIUS / perpendicular_widths(atoms), np.inf)
    return cell, fractions, images[((images > -margin) & (images < 1 + margin)).all(axis=1)] @ cell


def distinct_points(points: np.ndarray, atoms: Atoms) -> list[int]:
    """Return the indices of the points (m, 3) in Å without those that coincide with an earlier one or its image."""
    cell = complete_cell(atoms)
    differences = (points[:, None] - points[None]) @ np.linalg.inv(cell)
    differences -= np.where(atoms.pbc, np.round(differences), 0)
    close = np.linalg.norm(differences @ cell, axis=2) < MERGE_DISTANCE
    kept: list[int] = []
    for index in range(len(points)):
        if not close[index, kept].any():
            kept.append(index)
    return kept


def _is_enclosed(point: np.ndarray, atoms: np.ndarray) -> bool:
    """Return whether a point is inside the convex hull of the atoms that touch it; if not, a larger void is nearby.

    The point is inside if the directions to the atoms can be combined to zero with non-negative weights.
    """
    from scipy.optimize import nnls

    directions = atoms - point
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    return bool(nnls(np.vstack([directions.T, np.ones(len(atoms))]), np.array([0.0, 0.0, 0.0, 1.0]))[1] < 1e-6)
