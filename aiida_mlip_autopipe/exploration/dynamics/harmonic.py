"""Vibrations of a harmonic solid, cluster or molecule, and their canonical distribution. All values are in ASE's units.

The frequencies and modes are those of the mass-weighted Hessian ``D = M^-1/2 H M^-1/2`` of the atoms that may move,
without the translations and rotations of the whole structure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import units

HBAR = units._hbar * units.J * units.s
"""Planck's constant divided by 2π, in eV times ASE's unit of time."""
PER_THZ = units.s * 1e-12 / (2.0 * np.pi)
"""Frequency in THz of an angular frequency of one in ASE's units."""
# A structure is not rotated about an axis if its radius of gyration about it is below this value in Å. This applies to
# the axes of linear molecules and of straight wires, which relaxations and rounding do not keep exactly straight.
LINEAR_A = 0.02

Statistics = Literal['classical', 'quantum']


@dataclass(frozen=True, eq=False)
class Vibrations:
    """The vibrations around a structure.

    Attributes
    ----------
    squares
        Squares of the angular frequencies, shape (m,), in eV/(Å² u); negative for imaginary frequencies.
    modes
        Orthonormal mass-weighted modes, shape (3n, m).
    masses
        Masses of the atoms that may move, shape (n,), in u.
    """

    squares: np.ndarray
    modes: np.ndarray
    masses: np.ndarray

    @property
    def frequencies_THz(self) -> np.ndarray:
        """Frequencies in THz, shape (m,); negative if imaginary."""
        return np.asarray(np.sign(self.squares) * np.sqrt(np.abs(self.squares)) * PER_THZ)

    def displacement_matrix(self, temperature_K: float, statistics: Statistics, drawn: np.ndarray) -> np.ndarray:
        """Return the matrix that turns standard normal numbers into displacements with the canonical covariance.

        The mean square of a normal coordinate is ``kT/ω²``, or ``ħ/2ω coth(ħω/2kT)`` in quantum statistics (D. C.
        Wallace, Thermodynamics of Crystals, 1972, section 10). The matrix is ``M^-1/2 Σ e √⟨q²⟩ eᵀ``. It does not
        depend on the choice of degenerate modes or on their signs, and it rotates with the structure.

        Parameters
        ----------
        temperature_K
            Temperature in K.
        statistics
            ``classical`` or ``quantum``.
        drawn
            Which modes have an amplitude, shape (m,). The absolute value of an imaginary frequency is used.

        Returns
        -------
        matrix
            Å, shape (3n, 3n).
        """
        kT = units.kB * temperature_K
        squares, modes = np.abs(self.squares[drawn]), self.modes[:, drawn]
        if statistics == 'classical':
            mean_squares = kT / squares
        else:
            omega = np.sqrt(squares)
            mean_squares = 0.5 * HBAR / omega / np.tanh(0.5 * HBAR * omega / kT)
        weighted = (modes * np.sqrt(mean_squares)) @ modes.T
        return np.asarray(weighted / np.sqrt(np.repeat(self.masses, 3))[:, np.newaxis])


def find_vibrations(
    hessian: np.ndarray, masses: np.ndarray, positions: np.ndarray, rotation_axes: np.ndarray, translates: bool
) -> Vibrations:
    """Return the vibrations of the atoms that may move.

    Parameters
    ----------
    hessian
        Second derivatives of the energy, shape (3n, 3n), in eV/Å².
    masses, positions
        Masses in u, shape (n,), and positions in Å, shape (n, 3).
    rotation_axes
        Unit vectors along the axes about which the whole structure may rotate without a change of the energy, (k, 3).
    translates
        Whether the whole structure may be translated.
    """
    roots = np.repeat(np.sqrt(masses), 3)
    dynamical = hessian / np.outer(roots, roots)
    basis = _complement(masses, positions, rotation_axes, translates)
    squares, vectors = np.linalg.eigh(basis.T @ (0.5 * (dynamical + dynamical.T)) @ basis)
    return Vibrations(squares, basis @ vectors, masses)


def rotation_axes(cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Return unit vectors along the axes about which a structure may rotate: all, the periodic direction, or none."""
    if not pbc.any():
        return np.eye(3)
    if pbc.sum() > 1:
        return np.zeros((0, 3))
    return np.asarray(cell[pbc] / np.linalg.norm(cell[pbc]))


def _complement(masses: np.ndarray, positions: np.ndarray, axes: np.ndarray, translates: bool) -> np.ndarray:
    """Return an orthonormal basis of the mass-weighted displacements without translations and rotations, (3n, m)."""
    roots = np.sqrt(masses)[:, np.newaxis]
    if not translates:
        return np.eye(3 * len(masses))
    removed = [np.kron(roots, np.eye(3)) / np.sqrt(masses.sum())]
    centred = positions - masses @ positions / masses.sum()
    if len(axes):
        turns = np.array([(roots * np.cross(axis, centred)).ravel() for axis in axes]).T
        vectors, sizes, _ = np.linalg.svd(turns, full_matrices=False)
        removed.append(vectors[:, sizes > LINEAR_A * np.sqrt(masses.sum())])
    rigid = np.hstack(removed)
    return np.asarray(np.linalg.svd(rigid, full_matrices=True)[0][:, rigid.shape[1] :])
