r"""Holes in the repulsion of a model: distances at which two atoms attract each other although they overlap.

Training data hardly contain short distances, so the energy curve of a model may turn over: below some distance, the
energy falls instead of rising. Atoms that reach such a hole in hot dynamics fuse. Starting models have holes, too, so a
new model is compared with the starting model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers, covalent_radii

INNERMOST = 0.6
"""Smallest distance, relative to the sum of the covalent radii. Atoms do not come closer at realistic temperatures."""
OUTERMOST = 2.5
"""Largest distance at which the minimum is looked for, relative to the sum of the covalent radii."""
N_DISTANCES = 96
TOLERANCE_EV = 0.05
"""Shallower holes are not reported: their depth is below the thermal energy in hot dynamics."""


@dataclass(frozen=True)
class DimerCurve:
    """Energy of two atoms at several distances.

    Attributes
    ----------
    distances_A
        Distances (n,) in increasing order, Å.
    energies_eV
        Energies (n,), eV.
    """

    distances_A: np.ndarray
    energies_eV: np.ndarray

    @property
    def hole_depth_eV(self) -> float:
        """Largest decrease of the energy on the way from the minimum to the smallest distance.

        The minimum is the outermost local minimum, since the energy in a hole may be lower. The
        depth is infinite if an energy is not finite.
        """
        energies = self.energies_eV
        if not np.isfinite(energies).all():
            return float('inf')
        inwards = energies[: self._minimum() + 1][::-1]
        return float((np.maximum.accumulate(inwards) - inwards).max())

    def _minimum(self) -> int:
        """Return the index of the outermost local minimum deeper than the tolerance, or the last index without one.

        A curve that falls all the way to the smallest distance has no minimum, since the atoms do not repel each other.
        """
        energies = self.energies_eV
        lowest = highest = energies[-1]
        index = len(energies) - 1
        for number in range(len(energies) - 2, -1, -1):
            if energies[number] < lowest:
                lowest, index, highest = energies[number], number, energies[number]
            highest = max(highest, energies[number])
            if lowest < energies[-1] - TOLERANCE_EV and highest - lowest > TOLERANCE_EV:
                return index
        has_minimum = index > 0 and lowest < energies[-1] - TOLERANCE_EV
        return index if has_minimum else len(energies) - 1


def evaluate_dimer(calculator: Calculator, symbols: tuple[str, str]) -> DimerCurve:
    """Return the energies of two atoms from 0.6 to 2.5 times the sum of their covalent radii.

    Parameters
    ----------
    calculator
        The calculator. It must accept structures without a cell.
    symbols
        The two elements.
    """
    distances = dimer_distances(symbols)
    atoms = Atoms(symbols, positions=np.zeros((2, 3)))
    atoms.calc = calculator
    energies = np.empty(N_DISTANCES)
    for number, distance in enumerate(distances):
        atoms.positions[1] = (distance, 0.0, 0.0)
        energies[number] = atoms.get_potential_energy()
    return DimerCurve(distances, energies)


def dimer_distances(symbols: tuple[str, str]) -> np.ndarray:
    """Return the distances (n,) of two atoms at which their energy is computed, in Å."""
    radii = sum(float(covalent_radii[atomic_numbers[symbol]]) for symbol in symbols)
    return radii * np.linspace(INNERMOST, OUTERMOST, N_DISTANCES)


def evaluate_dimers(calculator: Calculator, symbols: Sequence[str]) -> dict[str, DimerCurve]:
    """Return the curve of each pair of elements, such as ``'Au-Cu'``."""
    return {'-'.join(pair): evaluate_dimer(calculator, pair) for pair in pairs_of(symbols)}


def pairs_of(symbols: Iterable[str]) -> list[tuple[str, str]]:
    """Return all pairs of some elements, in alphabetical order."""
    return list(combinations_with_replacement(sorted(set(symbols)), 2))


@dataclass(frozen=True)
class Hole:
    """A hole of a new model that the starting model does not have, or that is deeper.

    Attributes
    ----------
    pair
        The elements, such as ``'Au-Cu'``.
    depth_eV, starting_depth_eV
        Depth in the new and in the starting model, eV.
    """

    pair: str
    depth_eV: float
    starting_depth_eV: float


def find_new_holes(new: Mapping[str, DimerCurve], starting: Mapping[str, DimerCurve]) -> Iterator[Hole]:
    """Yield the pairs whose hole is deeper than that of the starting model by more than the tolerance.

    Raises
    ------
    KeyError
        If the starting model has no curve of a pair.
    """
    for pair, curve in new.items():
        depth, before = curve.hole_depth_eV, starting[pair].hole_depth_eV
        if depth > before + TOLERANCE_EV:
            yield Hole(pair, depth, before)
