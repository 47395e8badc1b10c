"""A linear potential as an ASE calculator, and its fit, which takes a second instead of minutes.

The features are those of `benchmarks/worth/linear_model.py`. Like fine-tuning, a fit starts from the weights of another
model: the ridge draws the weights towards these instead of zero.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

sys.path.append(str(Path(__file__).parents[1] / 'worth'))
import linear_model as lm

Block = tuple[np.ndarray, np.ndarray]
"""Rows of the design matrix of a structure, and their targets."""


class LinearPotential(Calculator):
    """Energy, forces and stress of the potential in a file that `save` has written."""

    implemented_properties = ('energy', 'free_energy', 'forces', 'stress')

    def __init__(self, path: str):
        super().__init__()
        arrays = np.load(path)
        self.species, n_channels = arrays['species'], len(arrays['species']) * lm.N_RADIAL
        # For each species of the centre: a constant, and the weights of the features, which are not normalised.
        scaled = arrays['weights'].reshape(len(self.species), -1)
        self.linear = scaled[:, 1:] / arrays['scale']
        self.constant = scaled[:, 0] - (self.linear * arrays['mean']).sum(axis=1)
        upper, n_spectrum = np.triu_indices(n_channels), n_channels * (n_channels + 1) // 2
        self.spectra = np.zeros((lm.L_MAX + 1, len(self.species), n_channels, n_channels))
        for degree in range(lm.L_MAX + 1):
            start = 2 * n_channels + degree * n_spectrum
            self.spectra[degree][:, *upper] = self.linear[:, start : start + n_spectrum]
        self.spectra = (self.spectra + self.spectra.swapaxes(2, 3)) / 2
        self.n_channels = n_channels

    def calculate(
        self, atoms: Atoms | None = None, properties: Sequence[str] = ('energy',), system_changes: Any = all_changes
    ) -> None:
        """Compute energy, forces and stress; the derivative of the energy by the densities is computed first."""
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        i, j, vectors = neighbours(atoms)
        z, n = np.searchsorted(self.species, atoms.numbers), len(atoms)
        r = np.linalg.norm(vectors, axis=1)
        u = vectors / r[:, None]
        radial, d_radial = lm._radial(r)
        moments, d_moments = lm._monomials(u)
        channels = (z[j] * lm.N_RADIAL)[:, None] + np.arange(lm.N_RADIAL)
        # With few atoms, products with these matrices are faster than additions by index.
        starts, ends = (np.equal.outer(np.arange(n), one).astype(float) for one in (i, j))
        outer = (radial[:, :, None] * moments[:, None]).reshape(len(i), -1)
        of_species = [(starts * (z[j] == s)) @ outer for s in range(len(self.species))]
        density = np.stack(of_species, axis=1).reshape(n, self.n_channels, -1)
        weights, c = self.linear[z], self.n_channels
        root = np.sqrt(density[:, :, 0] + lm.FLOOR)
        energies = self.constant[z] + (weights[:, :c] * density[:, :, 0] + weights[:, c : 2 * c] * root).sum(axis=1)
        slopes = np.zeros_like(density)
        slopes[:, :, 0] = weights[:, :c] + weights[:, c : 2 * c] / (2 * root)
        for degree in range(lm.L_MAX + 1):
            of = degree == lm.DEGREES
            half = self.spectra[degree][z] @ density[:, :, of]
            energies += (half * density[:, :, of]).sum(axis=(1, 2))
            slopes[:, :, of] += 2 * half
        per_pair = slopes[i[:, None], channels]
        along = ((per_pair @ moments[:, :, None])[:, :, 0] * d_radial).sum(axis=1)
        by_direction = (radial[:, None] @ per_pair @ d_moments)[:, 0]
        across = by_direction - (by_direction * u).sum(axis=1)[:, None] * u
        gradients = along[:, None] * u + across / r[:, None]
        forces = (starts - ends) @ gradients
        energy = float(energies.sum())
        self.results = {'energy': energy, 'free_energy': energy, 'forces': forces}
        if atoms.cell.rank == 3:
            stress = gradients.T @ vectors / atoms.get_volume()
            self.results['stress'] = full_3x3_to_voigt_6_stress((stress + stress.T) / 2)


def neighbours(atoms: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs of a crystal and their vectors. For few atoms, this is much faster than ASE's neighbour list."""
    cell, scaled = atoms.cell.array, atoms.get_scaled_positions()
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    images = np.indices(2 * (1 + lm.CUTOFF_A // heights).astype(int) + 1).reshape(3, -1).T
    images -= images[-1] // 2
    vectors = (scaled[None, :, None] - scaled[:, None, None] + images) @ cell
    squares = (vectors**2).sum(axis=-1)
    i, j, image = np.nonzero((squares < lm.CUTOFF_A**2) & (squares > 1e-12))
    return i, j, vectors[i, j, image]


def save(path: Path, basis: lm.Basis, weights: np.ndarray) -> None:
    """Write a potential to a file."""
    np.savez(path, species=basis.species, mean=basis.mean, scale=basis.scale, weights=weights)


def fit(train: Sequence[Block], valid: Sequence[Block], start: np.ndarray) -> np.ndarray:
    """Return the weights of a fit to some blocks, with the ridge that has the smallest error on the other blocks.

    Parameters
    ----------
    train, valid
        Pairs of rows of the design matrix and targets, from `linear_model.make_block`.
    start
        The weights towards which the ridge draws.
    """
    square, right = lm._normal_equations(train)
    right = right - square @ start
    rows, targets = (np.concatenate([block[part] for block in valid]).astype(float) for part in (0, 1))
    found = [start + lm._solve(square, right, ridge) for ridge in lm.RIDGES]
    return found[int(np.argmin([np.abs(rows @ one - targets).mean() for one in found]))]
