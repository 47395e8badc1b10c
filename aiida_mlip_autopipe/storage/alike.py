"""Find structures that are the same, however they are turned, numbered or repeated, by their labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aiida_mlip_autopipe.storage.row import Row

# Two structures are the same when these agree; a frame of the next femtosecond differs by more.
ENERGY_TOLERANCE = 1e-5
"""eV per atom."""
VOLUME_TOLERANCE = 1e-4
"""Relative."""
FORCE_TOLERANCE = 1e-3
"""eV/Å, of every sixteenth of the sorted norms of the forces."""


def join_alike(rows: Sequence[Row], groups: Sequence[str]) -> list[str]:
    """Join the groups that share a structure.

    Energy per atom, volume per atom and the distribution of the forces' norms change neither with rotation and
    permutation nor for a supercell, and hardly ever agree by accident. Where all of them and the composition agree
    within tolerances, two rows are copies.

    Parameters
    ----------
    rows
        With energy and forces.
    groups
        The group of each row.

    Returns
    -------
    list of str
        The group of each row; joined groups have the name of the first of them by alphabet.
    """
    parents = {group: group for group in groups}

    def root(group: str) -> str:
        while parents[group] != group:
            group = parents[group]
        return group

    for first, second in _alike_pairs(rows):
        names = sorted((root(groups[first]), root(groups[second])))
        parents[names[1]] = names[0]
    return [root(group) for group in groups]


def _alike_pairs(rows: Sequence[Row]) -> list[tuple[int, int]]:
    energies = np.array([row.labels['energy'] / len(row.atoms) for row in rows])
    volumes = np.array([row.atoms.cell.volume / len(row.atoms) for row in rows])
    formulas = [row.atoms.symbols.formula.reduce()[0].format('hill') for row in rows]
    forces = np.array([_force_quantiles(row) for row in rows])
    order = np.argsort(energies, kind='stable')
    ends = np.searchsorted(energies[order], energies[order] + ENERGY_TOLERANCE, side='right')
    pairs = []
    for place, first in enumerate(order):
        for second in order[place + 1 : ends[place]]:
            if (
                formulas[first] == formulas[second]
                and abs(volumes[first] - volumes[second]) <= VOLUME_TOLERANCE * volumes[first]
                and np.abs(forces[first] - forces[second]).max() <= FORCE_TOLERANCE
            ):
                pairs.append((int(first), int(second)))
    return pairs


def _force_quantiles(row: Row) -> np.ndarray:
    norms = np.linalg.norm(row.labels['forces'], axis=1)
    # This method gives a supercell the quantiles of its primitive cell.
    quantiles: np.ndarray = np.quantile(norms, np.linspace(0, 1, 17), method='inverted_cdf')
    return quantiles
