import numpy as np
import pytest
from ase import Atoms
from scipy.special import eval_legendre

from aiida_mlip_autopipe.descriptors.soap.atomic_images import find_images
from aiida_mlip_autopipe.descriptors.soap.density_expansion import DensityExpansion

R_CUT_A, N_MAX, L_MAX, SIGMA_A = 4.0, 4, 5, 0.6
EXPANSION = DensityExpansion(R_CUT_A, N_MAX, L_MAX, SIGMA_A)


def expand(atoms, species):
    images = find_images(atoms, species, EXPANSION.cutoff_A)
    return EXPANSION.expand(images, slice(None))


def integrate(distance, degree):
    """Compute the overlaps of a Gaussian on the z axis with the orthonormal functions of a degree by quadrature."""
    points, weights = np.polynomial.legendre.leggauss(200)
    r, dr = 12.0 * (points + 1) / 2, 12.0 * weights / 2
    radii = np.linspace(1.0, R_CUT_A, N_MAX)
    # Each function has decayed to 0.001 at its radius.
    primitives = r**degree * np.exp(-np.outer(np.log(1000 * radii**degree) / radii**2, r**2))
    overlap = (primitives * r**2 * dr) @ primitives.T
    values, vectors = np.linalg.eigh(overlap)
    radial = vectors @ np.diag(values**-0.5) @ vectors.T @ primitives
    harmonic = np.sqrt((2 * degree + 1) / (4 * np.pi)) * eval_legendre(degree, points)
    squared = r[:, None] ** 2 + distance**2 - 2 * distance * np.outer(r, points)
    density = np.exp(-squared / (2 * SIGMA_A**2)) @ (2 * np.pi * harmonic * weights)
    return radial @ (density * r**2 * dr)


@pytest.mark.parametrize('degree', range(L_MAX + 1))
def test_coefficients_are_the_overlaps_of_gaussians_with_the_basis(degree):
    pair = Atoms('HO', [[0, 0, 0], [0, 0, 2.1]])
    hydrogen, oxygen = expand(pair, [1, 8])[degree]
    # For the atom itself and its neighbour on the z axis, only m = 0, the first cosine, is not zero.
    for found, distance in ((hydrogen[:, 0], 0.0), (oxygen[:, 0], 2.1)):
        np.testing.assert_allclose(found[:, degree], integrate(distance, degree), atol=1e-8)
        np.testing.assert_allclose(np.delete(found, degree, axis=1), 0.0, atol=1e-12)


def test_the_coefficients_of_elements_without_neighbours_are_zero():
    helium = expand(Atoms('H2', [[0, 0, 0], [0, 0, 0.7]]), [1, 2, 8])
    assert all(not coefficients[1:].any() for coefficients in helium)


def test_atoms_beyond_the_cutoff_do_not_contribute():
    alone, pair = (Atoms('H', [[0, 0, 0]]), Atoms('H2', [[0, 0, 0], [0, 0, EXPANSION.cutoff_A + 1e-6]]))
    for one, two in zip(expand(alone, [1]), expand(pair, [1]), strict=True):
        np.testing.assert_allclose(one[:, :, 0], two[:, :, 0], rtol=1e-12)
