"""Offsets between the energies of two levels of theory: one energy per element, by least squares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

# Singular values below this fraction of the largest one belong to compositions that differ only by rounding.
RELATIVE_CUTOFF = 1e-6


@dataclass(frozen=True)
class Offsets:
    """Energies of the elements that are added to a model, so that its energies fit the labels.

    Attributes
    ----------
    energies_eV
        Energy per atom of each element, in eV.
    residual_eV_atom
        Root mean square of the energies per atom that the offsets do not explain, in eV per atom.
    determined
        Whether the compositions determine the energies. If not, they are the solution with the smallest norm.
    """

    energies_eV: dict[str, float]
    residual_eV_atom: float
    determined: bool

    def of(self, atoms: Atoms) -> float:
        """Return the offset of the energy of a structure, in eV. Elements without an offset contribute nothing."""
        return float(sum(self.energies_eV.get(symbol, 0.0) for symbol in atoms.symbols))


def fit_offsets(structures: Sequence[Atoms], differences_eV: Sequence[float]) -> Offsets:
    r"""Return the offsets that explain differences between energies.

    They minimise :math:`\sum_i (d_i / N_i - \sum_e c_{ie} x_e)^2`, where :math:`d_i` is the difference for structure
    :math:`i` with :math:`N_i` atoms, :math:`c_{ie}` the fraction of its atoms that are of element :math:`e`, and
    :math:`x_e` the offset of this element. If several solutions exist, the one with the smallest norm is returned.

    Parameters
    ----------
    structures
        The structures, at least one.
    differences_eV
        For each structure, the energy of the label minus that of the model, in eV.
    """
    symbols = sorted({symbol for atoms in structures for symbol in atoms.symbols})
    counts = np.array([[list(atoms.symbols).count(symbol) for symbol in symbols] for atoms in structures])
    n_atoms = counts.sum(axis=1)
    fractions, targets = counts / n_atoms[:, None], np.asarray(differences_eV) / n_atoms
    fitted, _, rank, _ = np.linalg.lstsq(fractions, targets, rcond=RELATIVE_CUTOFF)
    energies = dict(zip(symbols, map(float, fitted), strict=True))
    return Offsets(energies, residual_of(structures, differences_eV, energies), bool(rank == len(symbols)))


def residual_of(
    structures: Sequence[Atoms], differences_eV: Sequence[float], energies_eV: Mapping[str, float]
) -> float:
    """Return the root mean square of the differences per atom that energies of the elements do not explain, in eV."""
    left = [
        (difference - sum(energies_eV[symbol] for symbol in atoms.symbols)) / len(atoms)
        for atoms, difference in zip(structures, differences_eV, strict=True)
    ]
    return float(np.sqrt(np.mean(np.square(left))))
