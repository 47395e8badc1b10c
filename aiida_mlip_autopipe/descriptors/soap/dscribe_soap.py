"""SOAP by dscribe, the library that defines the features of `PowerSpectrum`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.geometry.cell import complete_cell


class DscribeSoap:
    """dscribe's SOAP with the interface of `PowerSpectrum`.

    Parameters
    ----------
    species
        Atomic numbers of all elements that can occur, in ascending order.
    compression
        dscribe's name of the compression.
    weights
        The weights of the elements (s,). Only ``mu2`` uses them.
    basis
        dscribe's arguments for the cutoff radius, the numbers of basis functions and the width of the Gaussians.
    """

    def __init__(self, species: Sequence[int], compression: str, weights: np.ndarray, **basis: float):
        symbols = [chemical_symbols[z] for z in species]
        mode: dict[str, Any] = {'mode': compression}
        if compression == 'mu2':
            mode['species_weighting'] = dict(zip(symbols, weights.tolist(), strict=True))
        self._arguments = {'species': symbols, 'compression': mode, 'periodic': True, **basis}

    def average(self, atoms: Atoms) -> np.ndarray:
        """Return the mean of the features over the atoms of a structure (n_features,)."""
        averaged: np.ndarray = self._create(atoms, 'outer').ravel()
        return averaged

    def environments(self, atoms: Atoms, centres: np.ndarray | None = None) -> np.ndarray:
        """Return the features of the atoms with the given indices, by default of all atoms (n, n_features)."""
        return self._create(atoms, 'off', None if centres is None else centres.tolist())

    def _create(self, atoms: Atoms, average: str, centres: list[int] | None = None) -> np.ndarray:
        from dscribe.descriptors import SOAP

        atoms = atoms.copy()
        if atoms.cell.rank < 3:
            # dscribe needs a cell, but ignores directions that are not periodic.
            atoms.set_cell(complete_cell(atoms.cell))
        # dscribe misses neighbours of atoms that are outside the cell.
        atoms.wrap()
        created: np.ndarray = SOAP(average=average, **self._arguments).create(atoms, centers=centres)
        return created
