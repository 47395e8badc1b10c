"""A linear potential with forces: radial densities, their square roots, and power spectra up to degree 3.

The power spectra are contracted Cartesian moments of the neighbour density, as in SOAP (Bartók, Kondor and Csányi,
Phys. Rev. B 87, 184115, 2013) and moment tensor potentials (Shapeev, Multiscale Model. Simul. 14, 1153, 2016). The
square root of the density is the embedding function of Finnis and Sinclair.
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import factorial

import numpy as np
from ase.neighborlist import neighbor_list
from scipy.linalg import cho_factor, cho_solve

CUTOFF_A = 5.0
N_RADIAL = 6
WIDTH_A = 0.5
L_MAX = 3
FLOOR = 0.02
# Weight of an error of the energy per atom relative to that of a force component, in Å.
ENERGY_WEIGHT_A = 20.0
RIDGES = 10.0 ** np.arange(-9, -3)
POWERS = [
    np.array([[t.count(a) for a in range(3)] for t in combinations_with_replacement(range(3), degree)])
    for degree in range(L_MAX + 1)
]
EXPONENTS = np.concatenate(POWERS)
DEGREES = EXPONENTS.sum(axis=1)
# With these weights, the sum over the monomials is a power of the scalar product of two directions.
WEIGHTS = np.array([np.sqrt(factorial(sum(e)) / np.prod([factorial(x) for x in e])) for e in EXPONENTS.tolist()])


def _radial(r):
    """Return the radial functions and their derivatives (p, n)."""
    centres = np.linspace(1.8, CUTOFF_A - 0.5, N_RADIAL)
    cut = 0.5 * (1 + np.cos(np.pi * r / CUTOFF_A))[:, None]
    d_cut = -0.5 * np.pi / CUTOFF_A * np.sin(np.pi * r / CUTOFF_A)[:, None]
    gauss = np.exp(-((r[:, None] - centres) ** 2) / (2 * WIDTH_A**2))
    return gauss * cut, gauss * (d_cut - cut * (r[:, None] - centres) / WIDTH_A**2)


def _monomials(u):
    """Return the weighted monomials of directions (p, k) and their derivatives (p, k, 3)."""
    powers = np.stack([u**e for e in range(L_MAX + 1)])
    values = WEIGHTS * np.prod([powers[EXPONENTS[:, a], :, a] for a in range(3)], axis=0).T
    gradients = np.empty((len(u), len(EXPONENTS), 3))
    for a in range(3):
        lowered = np.maximum(EXPONENTS - np.eye(3, dtype=int)[a], 0)
        product = np.prod([powers[lowered[:, b], :, b] for b in range(3)], axis=0).T
        gradients[:, :, a] = WEIGHTS * EXPONENTS[:, a] * product
    return values, gradients


def describe(atoms, species, gradients=True):
    """Return the features of the atoms (n, d) and the sums of their gradients by species of the centre (s, n, 3, d)."""
    i, j, vectors = neighbor_list('ijD', atoms, CUTOFF_A)
    r = np.linalg.norm(vectors, axis=1)
    u = vectors / r[:, None]
    z = np.searchsorted(species, atoms.numbers)
    n, n_channels = len(atoms), len(species) * N_RADIAL
    radial, d_radial = _radial(r)
    moments, d_moments = _monomials(u)
    channels = (z[j] * N_RADIAL)[:, None] + np.arange(N_RADIAL)
    density = np.zeros((n, n_channels, len(EXPONENTS)))
    np.add.at(density, (i[:, None], channels), radial[:, :, None] * moments[:, None])
    upper = np.triu_indices(n_channels)
    spectra = [
        np.einsum('ick,idk->icd', density[:, :, of], density[:, :, of])
        for of in (np.arange(L_MAX + 1)[:, None] == DEGREES)
    ]
    plain = density[:, :, 0]
    root = np.sqrt(plain + FLOOR)
    features = np.concatenate([plain, root, *[spectrum[:, *upper] for spectrum in spectra]], axis=1)
    if not gradients:
        return features, None
    # Only displacements perpendicular to the bond change its direction.
    across = (np.eye(3) - u[:, :, None] * u[:, None]) / r[:, None, None]
    d_moments = d_moments @ across
    d_density = (d_radial[:, :, None] * moments[:, None])[..., None] * u[:, None, None] + radial[
        :, :, None, None
    ] * d_moments[:, None]
    pairs = np.arange(len(i))[:, None]
    d_plain = np.zeros((len(i), n_channels, 3))
    d_plain[pairs, channels] = d_density[:, :, 0]
    blocks = [d_plain, d_plain / (2 * root[i])[..., None]]
    for degree in range(L_MAX + 1):
        of = degree == DEGREES
        half = np.zeros((len(i), n_channels, n_channels, 3))
        change = np.einsum('pck,pnka->pnca', density[i][:, :, of], d_density[:, :, of], optimize=True)
        half[pairs, channels] = change
        blocks.append((half + half.swapaxes(1, 2))[:, *upper])
    flat = np.concatenate(blocks, axis=1).swapaxes(1, 2).reshape(len(i), -1)
    sums = np.zeros((len(species), n, flat.shape[1]))
    for s in range(len(species)):
        of = np.flatnonzero(z[i] == s)
        scatter = np.zeros((n, len(of)))
        np.add.at(scatter, (i[of], np.arange(len(of))), 1.0)
        np.add.at(scatter, (j[of], np.arange(len(of))), -1.0)
        sums[s] = scatter @ flat[of]
    return features, sums.reshape(len(species), n, 3, -1)


@dataclass(frozen=True)
class Basis:
    """Mean and standard deviation of the features of each species (s, d)."""

    species: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    def rows(self, atoms):
        """Return the rows of the design matrix for a structure: one energy, then the forces (1 + 3n, s (1 + d))."""
        features, sums = describe(atoms, self.species)
        energy, forces = [], []
        for s, number in enumerate(self.species):
            of = atoms.numbers == number
            energy += [[of.sum()], ((features[of] - self.mean[s]) / self.scale[s]).sum(axis=0)]
            forces += [np.zeros((3 * len(atoms), 1)), (sums[s] / self.scale[s]).reshape(3 * len(atoms), -1)]
        return np.concatenate([np.concatenate(energy)[None], np.concatenate(forces, axis=1)]).astype(np.float32)


def fit_basis(frames):
    """Return the basis with the mean and scale of the features of some structures, without using their labels."""
    species = np.unique(np.concatenate([atoms.numbers for atoms in frames]))
    features = np.concatenate([describe(atoms, species, gradients=False)[0] for atoms in frames])
    numbers = np.concatenate([atoms.numbers for atoms in frames])
    groups = [features[numbers == number] for number in species]
    return Basis(
        species,
        np.array([some.mean(axis=0) for some in groups]),
        np.array([some.std(axis=0) + 1e-9 for some in groups]),
    )


def make_block(rows, energy, forces):
    """Return the weighted rows and targets of a structure."""
    weight = ENERGY_WEIGHT_A / len(forces)
    left = rows.copy()
    left[0] *= weight
    return left, np.concatenate([[energy * weight], forces.ravel()]).astype(np.float32)


def _normal_equations(blocks):
    left = np.concatenate([block[0] for block in blocks]).astype(np.float64)
    right = np.concatenate([block[1] for block in blocks]).astype(np.float64)
    return left.T @ left, left.T @ right


def _solve(square, right, ridge):
    scale = ridge * np.trace(square)
    return cho_solve(cho_factor(square + scale * np.eye(len(square))), right)


def fit(blocks, rng):
    """Fit the potential. The regularisation is that with the lowest error on a held-out fifth of the structures."""
    order = rng.permutation(len(blocks))
    n_left_out = len(order) // 5
    kept = _normal_equations([blocks[k] for k in order[n_left_out:]])
    left_out = [blocks[k] for k in order[:n_left_out]]
    rows = np.concatenate([block[0] for block in left_out])
    targets = np.concatenate([block[1] for block in left_out])
    errors = [np.abs(rows @ _solve(*kept, ridge) - targets).mean() for ridge in RIDGES]
    more = _normal_equations(left_out)
    return _solve(kept[0] + more[0], kept[1] + more[1], RIDGES[int(np.argmin(errors))])
