"""SOAP by dscribe: the library whose definition and numbers those of `PowerSpectrum` are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.geometry.cell import complete_cell


class DscribeSoap:
    """What dscribe makes of structures, behind the interface of `PowerSpectrum`.

    Parameters
    ----------
    species
        Atomic numbers of all elements that may occur, ascending.
    compression
        Name of dscribe's compression.
    weights
        Of the elements (s,); only ``mu2`` uses them.
    basis
        Radius, numbers of functions and width, as dscribe's own arguments.
    """

    def __init__(self, species: Sequence[int], compression: str, weights: np.ndarray, **basis: float):
        symbols = [chemical_symbols[z] for z in species]
        mode: dict[str, Any] = {'mode': compression}
        if compression == 'mu2':
            mode['species_weighting'] = dict(zip(symbols, weights.tolist(), strict=True))
        self._arguments = {'species': symbols, 'compression': mode, 'periodic': True, **basis}

    def average(self, atoms: Atoms) -> np.ndarray:
        """Return the mean over the atoms of a structure (n_features,)."""
        averaged: np.ndarray = self._create(atoms, 'outer').ravel()
        return averaged

    def environments(self, atoms: Atoms) -> np.ndarray:
        """Return the features of each atom (n_atoms, n_features)."""
        return self._create(atoms, 'off')

    def _create(self, atoms: Atoms, average: str) -> np.ndarray:
        from dscribe.descriptors import SOAP

        atoms = atoms.copy()
        if atoms.cell.rank < 3:
            # A molecule needs a cell here; directions that are not periodic do not enter.
            atoms.set_cell(complete_cell(atoms.cell))
        # It misses neighbours of atoms that have left the cell.
        atoms.wrap()
        created: np.ndarray = SOAP(average=average, **self._arguments).create(atoms)
        return created
