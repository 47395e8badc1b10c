"""Interstitial sites: the points of a crystal that are farthest from its atoms."""

from __future__ import annotations

from itertools import product

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.structures.cells import cell_heights, complete_cell

# Å; beyond it is vacuum, not a void: an interstitial site has atoms on all sides.
MAX_RADIUS = 4.0
MERGED = 0.3  # Å; vertices nearer than this are one void
TOUCH = 0.01  # Å; atoms touch a void up to this distance beyond its radius


def find_voids(atoms: Atoms, share: float = 0.85) -> np.ndarray:
    """Return the centres of the largest voids in Å, shape (m, 3), the largest first.

    These are the vertices of the Voronoi tessellation (A. Goyal et al., Comput. Mater. Sci. 130, 1, 2017, use the same
    sites), of which those within `share` of the largest radius are kept. In a slab only voids between atoms count.

    Parameters
    ----------
    atoms
        The structure.
    share
        Smallest radius of a void over that of the largest.
    """
    from scipy.spatial import Voronoi, cKDTree

    cell = complete_cell(atoms)
    fractions = np.linalg.solve(cell.T, atoms.positions.T).T
    fractions[:, atoms.pbc] %= 1.0
    shifts = np.array(list(product((-1, 0, 1), repeat=3)))
    shifts = shifts[(shifts == 0)[:, ~atoms.pbc].all(axis=1)]
    images = (fractions[None] + shifts[:, None]).reshape(-1, 3)
    margin = np.where(atoms.pbc, 1.05 * MAX_RADIUS / cell_heights(atoms), np.inf)
    images = images[((images > -margin) & (images < 1 + margin)).all(axis=1)] @ cell
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
    touching = tree.query_ball_point(vertices, radii + TOUCH)
    summits = [_is_enclosed(vertex, images[near]) for vertex, near in zip(vertices, touching, strict=True)]
    vertices, radii = vertices[summits], radii[summits]
    if not len(vertices):
        return np.zeros((0, 3))
    order = np.lexsort((*np.round(vertices, 2).T, -np.round(radii, 2)))
    order = order[radii[order] >= share * radii[order[0]]]
    # Vertices that coincide, also across the cell's faces, are one void.
    vectors = vertices[order][:, None] - vertices[order][None]
    differences = vectors @ np.linalg.inv(cell)
    differences -= np.where(atoms.pbc, np.round(differences), 0)
    close = np.linalg.norm(differences @ cell, axis=2) < MERGED
    kept: list[int] = []
    for index in range(len(order)):
        if not close[index, kept].any():
            kept.append(index)
    return np.asarray(vertices[order[kept]])


def _is_enclosed(point: np.ndarray, atoms: np.ndarray) -> bool:
    """Return whether a point lies within the hull of the atoms that touch it; else it is on the flank of a larger void.

    It does if some weights, none negative, of the directions to the atoms cancel.
    """
    from scipy.optimize import nnls

    directions = atoms - point
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    return bool(nnls(np.vstack([directions.T, np.ones(len(atoms))]), np.array([0.0, 0.0, 0.0, 1.0]))[1] < 1e-6)
