"""Which deformations of the cell a barostat drives, and the tension that acts on the cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Index pairs in ASE's Voigt order: xx, yy, zz, yz, xz, xy.
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def voigt_to_matrix(components: np.ndarray) -> np.ndarray:
    """Return the symmetric matrix (3, 3) of six components in ASE's Voigt order."""
    xx, yy, zz, yz, xz, xy = components
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


@dataclass(frozen=True, eq=False)
class Modes:
    """The deformations that are allowed: the velocity gradient is a combination of a few matrices.

    Cell vectors and positions are rows, so a velocity gradient ``D`` changes them by ``ȧ = a D``.

    Attributes
    ----------
    basis
        The matrices, (k, 3, 3), orthonormal under the trace of the product with the transpose, unless `vectors` is set.
    plane
        Orthonormal directions (d, 3) in which symmetric matrices deform the cell. Other directions do not change.
    vectors
        Unit vectors along the cell vectors (3, 3), if only the lengths of the cell vectors change.
    """

    basis: np.ndarray
    plane: np.ndarray
    vectors: np.ndarray | None = None

    def decompose(self, rates: np.ndarray) -> Spectrum:
        """Return the velocity gradient with the given coefficients (k,) in the form that its functions need."""
        if self.vectors is not None:
            return Spectrum(np.linalg.inv(self.vectors), rates, self.vectors, np.zeros((3, 3)))
        gradient = np.einsum('k,kij->ij', rates, self.basis)
        values, vectors = np.linalg.eigh(self.plane @ gradient @ self.plane.T)
        rest = np.eye(3) - self.plane.T @ self.plane
        return Spectrum(self.plane.T @ vectors, values, vectors.T @ self.plane, rest)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A velocity gradient as ``left · diag(values) · right``. It is zero in the directions of `rest`, a projector."""

    left: np.ndarray
    values: np.ndarray
    right: np.ndarray
    rest: np.ndarray

    @property
    def trace(self) -> float:
        """The rate at which the logarithm of the volume changes."""
        return float(self.values.sum())

    def apply(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return a function of the matrix, (3, 3). The function must be 1 at zero."""
        return np.asarray((self.left * function(self.values)) @ self.right + self.rest)


def make_modes(cell_setting: str, cell: np.ndarray) -> Modes:
    """Return the deformations that a setting allows.

    Parameters
    ----------
    cell_setting
        ``anisotropic``: the lengths of the cell vectors change, and their angles do not. ``flexible``: all symmetric
        velocity gradients, which do not rotate the cell. ``in_plane``: those in the plane of the first two cell
        vectors.
    cell
        The cell of the seed (3, 3) in Å.
    """
    if cell_setting == 'anisotropic':
        vectors = cell / np.linalg.norm(cell, axis=1)[:, np.newaxis]
        basis = np.einsum('ik,kj->kij', np.linalg.inv(vectors), vectors)
        return Modes(basis, np.eye(3), vectors)
    plane = np.eye(3) if cell_setting == 'flexible' else _plane_axes(cell)
    return Modes(_symmetric_basis(plane), plane)


def _plane_axes(cell: np.ndarray) -> np.ndarray:
    """Return two orthonormal vectors in the plane of the first two cell vectors, (2, 3)."""
    first = cell[0] / np.linalg.norm(cell[0])
    second = cell[1] - (cell[1] @ first) * first
    return np.array([first, second / np.linalg.norm(second)])


def _symmetric_basis(axes: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of the symmetric matrices in the space of some directions, (k, 3, 3)."""
    pairs = [(i, j) for i in range(len(axes)) for j in range(i, len(axes))]
    products = [np.outer(axes[i], axes[j]) for i, j in pairs]
    return np.array(
        [one if i == j else (one + one.T) / np.sqrt(2.0) for one, (i, j) in zip(products, pairs, strict=True)]
    )


@dataclass(frozen=True, eq=False)
class Tension:
    """A thermodynamic tension ``t``, which adds ``-V₀ tr(t η)`` to the energy.

    ``η = (Fᵀ F - 1)/2`` is the Lagrangian strain of the cell relative to a reference cell with the volume ``V₀``, and
    ``F`` the deformation gradient. The energy does not depend on the orientation of the cell (M. Parrinello and
    A. Rahman, J. Appl. Phys. 52, 7182 (1981); J. R. Ray and A. Rahman, J. Chem. Phys. 80, 4423 (1984)). In the
    reference cell, ``t`` equals the stress that it causes, with ASE's sign convention: a positive component stretches
    the cell.

    Attributes
    ----------
    tension
        The symmetric matrix ``t`` (3, 3) in eV/Å³.
    reference_cell
        The reference cell (3, 3) in Å.
    """

    tension: np.ndarray
    reference_cell: np.ndarray

    @property
    def _volume(self) -> float:
        return float(abs(np.linalg.det(self.reference_cell)))

    def energy(self, cell: np.ndarray) -> float:
        """Return ``-V₀ tr(t η)`` of a cell (3, 3), in eV."""
        gradient = np.linalg.solve(self.reference_cell, cell)
        strain = 0.5 * (gradient @ gradient.T - np.eye(3))
        return -self._volume * float(np.sum(self.tension * strain))

    def virial(self, cell: np.ndarray) -> np.ndarray:
        """Return ``V₀ F t Fᵀ`` of a cell (3, 3), in eV (3, 3): minus the strain derivative of the energy."""
        gradient = np.linalg.solve(self.reference_cell, cell)
        return np.asarray(self._volume * gradient.T @ self.tension @ gradient)
