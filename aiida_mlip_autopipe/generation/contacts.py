"""Distances between molecules.

Atoms of different molecules are not bonded, so their distances are compared with the sums of their van der Waals radii.
In the seed of a molecular system, the tags of the atoms are the numbers of their molecules, starting from 1. The atoms
of a slab in a liquid have the tag 0, and distances between them are not checked here.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.errors import PhysicsViolationError
from aiida_mlip_autopipe.structures.cells import complete_cell

# Difference between van der Waals and covalent radii in Å, for the few elements without a known van der Waals radius.
MEAN_DIFFERENCE_A = 0.8


@cache
def van_der_waals_radii() -> np.ndarray:
    """Return van der Waals radii in Å by atomic number (S. Alvarez, Dalton Trans. 42, 8617 (2013), in ASE)."""
    from ase.data import covalent_radii
    from ase.data.vdw_alvarez import vdw_radii

    radii = np.array(covalent_radii) + MEAN_DIFFERENCE_A
    known = np.isfinite(vdw_radii)
    radii[: len(known)][known] = vdw_radii[known]
    return radii


def check_contacts(atoms: Atoms, factor: float) -> None:
    """Check the distances between atoms of different molecules, and between a molecule and its periodic images.

    Parameters
    ----------
    atoms
        The structure. Equal tags mark the atoms of one molecule, which no cell boundary divides.
    factor
        Minimum distance, divided by the sum of the van der Waals radii.

    Raises
    ------
    PhysicsViolationError
        With the rule ``contact``.
    """
    from matscipy.neighbours import neighbour_list

    radii, molecules = van_der_waals_radii()[atoms.numbers], atoms.get_tags()
    first, second, distances, shifts = neighbour_list(
        'ijdS', positions=atoms.positions, cell=complete_cell(atoms), pbc=atoms.pbc,
        cutoff=max(2 * factor * float(radii.max()), 0.1),
    )  # fmt: skip
    others = (molecules[first] != molecules[second]) | (shifts.any(axis=1) & (molecules[first] > 0))
    limits = factor * (radii[first] + radii[second])
    shortfall = np.where(others, limits - distances, 0.0)
    if not len(shortfall) or shortfall.max() <= 0:
        return
    worst = int(np.argmax(shortfall))
    i, j = sorted((int(first[worst]), int(second[worst])))
    what = 'two molecules' if molecules[[i, j]].all() else 'a slab and a molecule'
    raise PhysicsViolationError(
        'contact', (i, j), float(distances[worst]), float(limits[worst]),
        f'atoms {i} ({atoms.symbols[i]}) and {j} ({atoms.symbols[j]}) of {what} are {distances[worst]:.3f} Å '
        f'apart; the limit for this pair is {limits[worst]:.3f} Å',
    )  # fmt: skip
