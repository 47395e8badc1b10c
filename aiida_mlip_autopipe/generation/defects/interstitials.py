"""Interstitial sites: the largest voids, and octahedra whose centres are not voids, as in bcc."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.structures.voids import distinct_points, find_voids, with_images

# Minimum radius, divided by that of the largest void, as in `find_voids`: 0.89 for octahedra of bcc, 0.87 for
# tetrahedra of fcc.
MIN_RADIUS_FACTOR = 0.85
RADIUS_TOLERANCE = 1e-3  # Å
# Largest deviation of an octahedron from right angles, in degrees. The six neighbours of the hexagonal site of diamond
# deviate by 27°.
MAX_DEVIATION_DEG = 20.0
WRAP_TOLERANCE = 1e-6  # fractional


def find_interstitial_sites(atoms: Atoms) -> np.ndarray:
    """Return the interstitial sites in Å, shape (m, 3): the voids, largest first, followed by the other octahedra.

    The octahedral site of bcc, which carbon in ferrite occupies, is midway between two second neighbours. It is a
    saddle point of the distance to the nearest atom, not a maximum, and so not a void (D. A. Porter, K. E. Easterling,
    Phase Transformations in Metals and Alloys, ch. 2).
    """
    voids = find_voids(atoms)
    if not len(voids):
        return voids
    sites = np.vstack([voids, _find_octahedra(atoms, voids[0])])
    return np.asarray(sites[distinct_points(sites, atoms)])


def _find_octahedra(atoms: Atoms, largest_void: np.ndarray) -> np.ndarray:
    """Return the centres (m, 3) of octahedra: midpoints of two atoms whose six nearest atoms form three opposite pairs.

    The two atoms are the nearest of the six. The distance to them is at least `MIN_RADIUS_FACTOR` times the radius of
    the largest void.
    """
    from scipy.spatial import cKDTree

    cell, _, images = with_images(atoms)
    tree = cKDTree(images)
    max_radius = float(tree.query(largest_void)[0])
    pairs = tree.query_pairs(2 * max_radius, output_type='ndarray')
    if len(images) < 6 or not len(pairs):
        return np.zeros((0, 3))
    midpoints = images[pairs].mean(axis=1)
    fractions = np.linalg.solve(cell.T, midpoints.T).T
    inside = np.where(atoms.pbc, (fractions > -WRAP_TOLERANCE) & (fractions < 1 - WRAP_TOLERANCE), True).all(axis=1)
    midpoints, half = midpoints[inside], np.linalg.norm(images[pairs[inside, 0]] - images[pairs[inside, 1]], axis=1) / 2
    distances, nearest = tree.query(midpoints, k=6)
    fits = (
        (half > MIN_RADIUS_FACTOR * max_radius)
        & (np.abs(distances[:, 0] - half) < RADIUS_TOLERANCE)
        & np.isfinite(distances[:, 5])
    )
    midpoints, distances, nearest = midpoints[fits], distances[fits], nearest[fits]
    directions = (images[nearest] - midpoints[:, None]) / distances[..., None]
    cosines = np.sort(directions @ directions.transpose(0, 2, 1), axis=2)
    # For each of the six atoms, one of them is opposite, four are at right angles, and the last is the atom itself.
    deviation = np.radians(MAX_DEVIATION_DEG)
    opposite = cosines[:, :, 0] < -np.cos(deviation)
    perpendicular = (np.abs(cosines[:, :, 1:5]) < np.sin(deviation)).all(axis=2)
    centres, radii = (values[(opposite & perpendicular).all(axis=1)] for values in (midpoints, distances[:, 0]))
    return np.asarray(centres[np.lexsort((*np.round(centres, 2).T, -np.round(radii, 2)))])
