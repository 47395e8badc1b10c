"""Find labels that are physically implausible: a net force, or an energy far from those of similar compositions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAX_NET_FORCE = 0.01
"""Maximum magnitude of the sum of all forces, in eV/Å per atom. Forces of a converged calculation without external
fields sum to zero; VASP and ``pw.x`` remove the small remainder."""
MIN_ROWS = 10
"""Minimum number of rows, and 3 for each element, for a fit of the energies."""
MIN_ROWS_OF_ELEMENT = 3
"""Minimum number of rows with an element. If there are fewer, they are not checked, because the fit would follow
them."""
WARNING = (10.0, 1.0)
"""Deviation above which an energy causes a warning: in scaled median absolute deviations, and in eV/atom."""
REFUSAL = (50.0, 10.0)
"""Deviation above which an energy is refused, in the same units."""
FEW_ATOMS = ('atom', 'dimer')
"""Kinds of rows whose energies are far from those of other structures, and which are not checked."""
# Ratio of the standard deviation of a normal distribution to its median absolute deviation.
NORMAL = 1.4826
N_ITERATIONS = 100


@dataclass(frozen=True)
class Outlier:
    """An energy that differs from the fit.

    Attributes
    ----------
    index
        Index of the row.
    deviation
        Deviation in eV/atom.
    in_mad
        Its magnitude in scaled median absolute deviations.
    is_refused
        Whether it is so large that the energy must be wrong.
    """

    index: int
    deviation: float
    in_mad: float
    is_refused: bool


def net_force(forces: np.ndarray) -> float:
    """Return the magnitude of the sum of forces (n, 3) per atom, in the unit of the forces."""
    return float(np.linalg.norm(forces.sum(axis=0))) / len(forces)


def find_outliers(
    symbols: Sequence[Sequence[str]], energies: np.ndarray, limits: tuple[float, float] = WARNING
) -> list[Outlier]:
    """Return the energies that are far from a robust fit of one energy per element.

    The fit minimises the sum of absolute deviations per atom, so a few wrong energies do not change it.

    Parameters
    ----------
    symbols
        Elements of the atoms of each structure.
    energies
        Total energies in eV (n,), or differences between two energies.
    limits
        Deviation above which an energy is an outlier: in scaled median absolute deviations, and in eV/atom.
    """
    fractions = _fractions(symbols)
    rare = (fractions > 0).sum(axis=0) < MIN_ROWS_OF_ELEMENT
    used = np.flatnonzero(~(fractions[:, rare] > 0).any(axis=1))
    if len(used) < max(MIN_ROWS, 3 * int((~rare).sum())):
        return []
    deviations = deviations_from_fit([symbols[int(index)] for index in used], np.asarray(energies)[used])
    deviations -= np.median(deviations)
    scale = max(NORMAL * float(np.median(np.abs(deviations))), np.finfo(float).tiny)
    magnitudes = np.abs(deviations)
    return [
        Outlier(
            int(used[i]), float(deviations[i]), float(magnitudes[i] / scale), _exceeds(magnitudes[i], scale, REFUSAL)
        )
        for i in range(len(used))
        if _exceeds(magnitudes[i], scale, limits)
    ]


def deviations_from_fit(symbols: Sequence[Sequence[str]], energies: np.ndarray) -> np.ndarray:
    """Return the deviations from a robust fit of one energy per element, in eV/atom (n,).

    Parameters
    ----------
    symbols
        Elements of the atoms of each structure.
    energies
        Total energies in eV (n,), or differences between two energies.
    """
    fractions = _fractions(symbols)
    per_atom = np.asarray(energies) / np.array([len(atoms) for atoms in symbols])
    deviations: np.ndarray = per_atom - fractions @ _fit(fractions, per_atom)
    return deviations


def _fractions(symbols: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the atomic fraction of each element in each structure (n, e)."""
    elements = sorted({symbol for atoms in symbols for symbol in atoms})
    fractions = [[list(atoms).count(element) / len(atoms) for element in elements] for atoms in symbols]
    return np.array(fractions).reshape(len(symbols), len(elements))


def _exceeds(magnitude: float, scale: float, limits: tuple[float, float]) -> bool:
    return bool(magnitude > limits[0] * scale and magnitude > limits[1])


def _fit(fractions: np.ndarray, energies: np.ndarray) -> np.ndarray:
    """Return the energies of the elements with the smallest sum of absolute deviations, by reweighted least squares."""
    weights = np.ones(len(energies))
    for _ in range(N_ITERATIONS):
        roots = np.sqrt(weights)
        found = np.linalg.lstsq(fractions * roots[:, None], energies * roots, rcond=None)[0]
        # The limit keeps the weights finite for points that lie on the fit.
        weights = 1 / np.maximum(np.abs(energies - fractions @ found), 1e-6)
    return np.asarray(found)
