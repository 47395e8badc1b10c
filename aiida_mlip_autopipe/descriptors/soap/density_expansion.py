"""Expansion of the atomic density around each atom in Gaussian radial functions times spherical harmonics."""

from __future__ import annotations

from itertools import pairwise
from math import factorial, gamma, log, pi

import numpy as np

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.threads import one_thread
from aiida_mlip_autopipe.descriptors.soap.atomic_images import AtomicImages, Neighbours

# An atom outside the cutoff radius is a neighbour if its Gaussian at this radius exceeds this fraction of the maximum.
TAIL = 1e-3
# The radii of the radial functions are evenly spaced from this value, in Å, to the cutoff radius.
FIRST_RADIUS_A = 1.0
# The value of each radial function at its radius.
DECAY = 1e-3
# Number of atoms in a block, small enough for its data to fit into the cache.
N_CENTRES = 64


class DensityExpansion:
    """Expansion in the Gaussian-type basis of dscribe's SOAP, vectorised over the neighbours.

    Each neighbour is a Gaussian exp(-η|r|²), η = 1/(2σ²). The radial functions g_nl(r) = r^l Σ_k β_nkl exp(-α_kl r²)
    are orthonormal. The overlap of a Gaussian at R with r^l exp(-α r²) Y_lm is, by completing the square,
    (π/η)^(3/2) (1 + α/η)^-(l + 3/2) exp(-R² α/(1 + α/η)) R^l Y_lm. Up to a factor, R^l Y_lm is the real or imaginary
    part of (x + iy)^m times a polynomial in z, H_lm = z H_(l-1)m - b R² H_(l-2)m. The coefficient of the
    highest power is 1.

    Parameters
    ----------
    r_cut_A
        Cutoff radius of an environment, in Å.
    n_max
        Number of radial functions.
    l_max
        Maximum degree of the spherical harmonics.
    sigma_A
        Standard deviation of the Gaussians, in Å.

    Raises
    ------
    AutopipeError
        If there are so many radial functions that they are linearly dependent in double precision.
    """

    def __init__(self, r_cut_A: float, n_max: int, l_max: int, sigma_A: float):
        self.n_max, self.l_max = n_max, l_max
        self.cutoff_A = r_cut_A + sigma_A * float(np.sqrt(-2.0 * np.log(TAIL)))
        eta = 1.0 / (2.0 * sigma_A**2)
        degrees = range(l_max + 1)
        # Only libraries that are already loaded are limited to one thread, so SciPy must be loaded first.
        import scipy.linalg  # noqa: F401

        with one_thread():
            exponents, mixing = zip(*(_radial_functions(r_cut_A, n_max, degree) for degree in degrees), strict=True)
        narrowing = [1.0 / (1.0 + alpha / eta) for alpha in exponents]
        # These are exponents to base 2, because exp2 is faster than exp.
        self._decays = [
            -(alpha * factor)[:, None] / log(2.0) for alpha, factor in zip(exponents, narrowing, strict=True)
        ]
        self._mixing = [
            (pi / eta) ** 1.5 * beta * factor ** (degree + 1.5)
            for degree, beta, factor in zip(degrees, mixing, narrowing, strict=True)
        ]
        self._norms = [_norms(degree) for degree in degrees]
        self._recursion = [_recursion(degree) for degree in degrees]
        # Rows of the work arrays: offsets, squared distances, powers of x + iy, polynomials in z of three degrees,
        # temporary data of one degree, and harmonics and exponentials of one degree.
        ends = np.cumsum([3, 1, *6 * (l_max + 1,), 2 * l_max + 1, n_max]).tolist()
        self._rows = [slice(*bounds) for bounds in pairwise([0, *ends])]
        self._workspace = np.empty((ends[-1], 0))

    def expand(self, images: AtomicImages, part: slice | np.ndarray) -> list[np.ndarray]:
        """Expand the density around some atoms of a structure.

        Parameters
        ----------
        images
            The images within `cutoff_A` of the structure.
        part
            The atoms of the structure, as a slice or as indices.

        Returns
        -------
        list of numpy.ndarray
            The coefficients of each degree l (elements, n_max, atoms, 2 l + 1).
        """
        neighbours = images.find_neighbours(part, self.cutoff_A)
        offsets, (squared,), cosines, sines, *polynomials, scratch, harmonics, radial = self._work_arrays(neighbours)
        for axis, offset in enumerate(offsets):
            images.positions[axis].take(neighbours.images, out=offset, mode='clip')
            offset -= images.centres[part, axis].take(neighbours.centres)
            offset *= neighbours.taken
        x, y, z = offsets
        np.multiply(x, x, out=squared)
        squared += np.multiply(y, y, out=scratch[0])
        squared += np.multiply(z, z, out=scratch[0])
        # This array is a factor of all harmonics, so padding contributes exactly zero.
        cosines[0], sines[0] = neighbours.taken, 0.0
        for m in range(self.l_max):
            np.multiply(x, cosines[m], out=cosines[m + 1])
            cosines[m + 1] -= np.multiply(y, sines[m], out=scratch[0])
            np.multiply(x, sines[m], out=sines[m + 1])
            sines[m + 1] += np.multiply(y, cosines[m], out=scratch[0])
        coefficients = []
        for degree in range(self.l_max + 1):
            polynomial, last, before = (polynomials[(degree - i) % 3] for i in range(3))
            polynomial[degree] = 1.0
            np.multiply(last[:degree], z, out=polynomial[:degree])
            if degree > 1:
                product = np.multiply(before[: degree - 1], squared, out=scratch[: degree - 1])
                product *= self._recursion[degree]
                polynomial[: degree - 1] -= product
            np.multiply(polynomial[1 : degree + 1], sines[1 : degree + 1], out=harmonics[:degree])
            np.multiply(polynomial[: degree + 1], cosines[: degree + 1], out=harmonics[degree : 2 * degree + 1])
            np.multiply(self._decays[degree], squared, out=radial)
            np.exp2(radial, out=radial)
            coefficients.append(self._sum(degree, radial, harmonics[: 2 * degree + 1], neighbours.shapes))
        return coefficients

    def _work_arrays(self, neighbours: Neighbours) -> list[np.ndarray]:
        """Return work arrays that share one block of memory, because allocating it takes as long as filling it."""
        n_entries = len(neighbours.taken)
        if self._workspace.shape[1] < n_entries:
            self._workspace = np.empty((len(self._workspace), n_entries))
        return [self._workspace[rows, :n_entries] for rows in self._rows]

    def _sum(self, degree: int, radial: np.ndarray, harmonics: np.ndarray, shapes: list[tuple[int, int]]) -> np.ndarray:
        """Sum the products of radial functions and harmonics over the neighbours of each centre."""
        sums = np.empty((len(shapes), self.n_max, shapes[0][0], 2 * degree + 1))
        start = 0
        for out, (n, width) in zip(sums, shapes, strict=True):
            entries = slice(start, start + n * width)
            start = entries.stop
            np.matmul(
                radial[:, entries].reshape(len(radial), n, width).transpose(1, 0, 2),
                harmonics[:, entries].reshape(len(harmonics), n, width).transpose(1, 2, 0),
                out=out.transpose(1, 0, 2),
            )
        sums *= self._norms[degree]
        mixed: np.ndarray = np.matmul(self._mixing[degree], sums.reshape(len(shapes), self.n_max, -1))
        return mixed.reshape(sums.shape)


def _radial_functions(r_cut_A: float, n_max: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the exponents α in 1/Å² (n_max,), and the coefficients β by Löwdin orthonormalisation (n_max, n_max)."""
    from scipy.linalg import inv, sqrtm

    radii = np.linspace(FIRST_RADIUS_A, r_cut_A, n_max)
    exponents = (degree * np.log(radii) - np.log(DECAY)) / radii**2
    overlap = 0.5 * gamma(degree + 1.5) * np.add.outer(exponents, exponents) ** (-degree - 1.5)
    mixing = sqrtm(inv(overlap))
    if np.iscomplexobj(mixing):
        raise AutopipeError(
            Code.OUT_OF_RANGE,
            f'{n_max} radial functions within {r_cut_A} Å are linearly dependent; decrease n_max',
        )
    return exponents, mixing


def _norms(degree: int) -> np.ndarray:
    """Return the factors of the real spherical harmonics: sines with m = 1 to l, then cosines with m = 0 to l."""
    norms = []
    for m in (*range(1, degree + 1), *range(degree + 1)):
        highest = factorial(2 * degree) / (2**degree * factorial(degree) * factorial(degree - m))
        squared = (2 * degree + 1) / (4 * pi) * factorial(degree - m) / factorial(degree + m)
        norms.append(highest * np.sqrt(squared * (2 if m else 1)))
    return np.array(norms)


def _recursion(degree: int) -> np.ndarray:
    """Return the factors b for m = 0 to l - 2 (l - 1, 1)."""
    m = np.arange(degree - 1)[:, None]
    factors: np.ndarray = ((degree - 1) ** 2 - m**2) / ((2 * degree - 1) * (2 * degree - 3))
    return factors
