"""The power spectrum of the atomic density: rotationally invariant products of its expansion coefficients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.threads import one_thread
from aiida_mlip_autopipe.descriptors.soap.atomic_images import find_images
from aiida_mlip_autopipe.descriptors.soap.density_expansion import N_CENTRES, DensityExpansion

Compression = Literal['off', 'mu1nu1', 'crossover', 'mu2']


class PowerSpectrum:
    """The SOAP features of dscribe, in the same order.

    The features are π √(8/(2l+1)) Σ_m a_nlm b_n'lm. The coefficients a and b belong to two elements (``off``), to one
    element and to the sum over all elements (``mu1nu1``), to the same element (``crossover``), or to the weighted sum
    over all elements (``mu2``); see Darby, Kermode and Csányi, npj Comput. Mater. 8, 166 (2022).

    Parameters
    ----------
    expansion
        The expansion of the density.
    species
        Atomic numbers of all elements that can occur, in ascending order.
    compression
        Which products are computed.
    weights
        The weights of the elements (s,). Only ``mu2`` uses them.
    """

    def __init__(
        self, expansion: DensityExpansion, species: Sequence[int], compression: Compression, weights: np.ndarray
    ):
        self.expansion, self.species, self.compression, self.weights = expansion, species, compression, weights
        n_species, n_max = len(species), expansion.n_max
        n_all = n_species * n_max
        self._shape = {
            'off': (1, n_all, n_all),
            'mu1nu1': (1, n_all, n_max),
            'crossover': (n_species, n_max, n_max),
            'mu2': (1, n_max, n_max),
        }[compression]
        indices = list(_feature_indices(compression, n_species, n_max))
        shape = (expansion.l_max + 1, *self._shape)
        degrees = range(expansion.l_max + 1)
        self._indices = np.concatenate(
            [np.ravel_multi_index((degree, *index), shape) for index in indices for degree in degrees]
        )
        self._factors = np.concatenate(
            [np.full(len(rows), np.pi * np.sqrt(8 / (2 * degree + 1))) for _, rows, _ in indices for degree in degrees]
        )

    def average(self, atoms: Atoms) -> np.ndarray:
        """Return the mean of the features over the atoms of a structure (n_features,)."""
        products = np.zeros((self.expansion.l_max + 1, *self._shape))
        for coefficients in self._expand(atoms, np.arange(len(atoms))):
            for product, of_degree in zip(products, coefficients, strict=True):
                left, right = self._pair(of_degree)
                left, right = (side.reshape(*side.shape[:2], -1) for side in (left, right))
                product += left @ right.transpose(0, 2, 1)
        averaged: np.ndarray = products.ravel()[self._indices] * self._factors / len(atoms)
        return averaged

    def environments(self, atoms: Atoms, centres: np.ndarray | None = None) -> np.ndarray:
        """Return the features of the atoms with the given indices, by default of all atoms (n, n_features)."""
        if centres is None:
            centres = np.arange(len(atoms))
        features = np.empty((len(centres), len(self._indices)))
        start = 0
        for coefficients in self._expand(atoms, centres):
            n = coefficients[0].shape[2]
            products = np.empty((n, self.expansion.l_max + 1, *self._shape))
            for degree, of_degree in enumerate(coefficients):
                left, right = self._pair(of_degree)
                np.matmul(left.transpose(2, 0, 1, 3), right.transpose(2, 0, 3, 1), out=products[:, degree])
            np.multiply(products.reshape(n, -1)[:, self._indices], self._factors, out=features[start : start + n])
            start += n
        return features

    def _expand(self, atoms: Atoms, centres: np.ndarray) -> Iterator[list[np.ndarray]]:
        """Yield the coefficients in blocks of several atoms. The blocks depend only on the structure and the atoms."""
        with one_thread():
            images = find_images(atoms, self.species, self.expansion.cutoff_A)
            for start in range(0, len(centres), N_CENTRES):
                yield self.expansion.expand(images, centres[start : start + N_CENTRES])

    def _pair(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the two factors of the products of a degree (blocks, rows or columns, atoms, 2 l + 1)."""
        if self.compression == 'crossover':
            return coefficients, coefficients
        if self.compression == 'mu2':
            weighted = (coefficients * self.weights[:, None, None, None]).sum(axis=0)[None]
            return weighted, weighted
        stacked = coefficients.reshape(1, -1, *coefficients.shape[2:])
        return stacked, stacked if self.compression == 'off' else coefficients.sum(axis=0)[None]


def _feature_indices(
    compression: Compression, n_species: int, n_max: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the block, rows and columns of the features of a degree, for each pair of elements."""
    upper = np.triu_indices(n_max)
    full = np.divmod(np.arange(n_max**2), n_max)
    for first in range(1 if compression == 'mu2' else n_species):
        if compression == 'mu1nu1':
            pairs = [(0, first * n_max, 0, full)]
        elif compression == 'off':
            pairs = [
                (0, first * n_max, second * n_max, upper if second == first else full)
                for second in range(first, n_species)
            ]
        else:
            pairs = [(first, 0, 0, upper)]
        for block, row, column, (rows, columns) in pairs:
            yield np.full(len(rows), block), row + rows, column + columns
