"""Averaged SOAP: one vector for each structure, invariant under rotation, translation and permutation of the atoms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.descriptors.soap.density_expansion import DensityExpansion
from aiida_mlip_autopipe.descriptors.soap.dscribe_soap import DscribeSoap
from aiida_mlip_autopipe.descriptors.soap.power_spectrum import Compression, PowerSpectrum

# More features than this cost time and memory, but hardly help to distinguish structures.
MAX_FEATURES = 2300
# Number of structures in a block for each process. It limits the memory needed in addition to the result.
BLOCK = 512
# Number of structures in a task of a process, small enough for a balanced load.
PART = 128
# Minimum number of structures for which all cores are used. For fewer, starting the processes takes too long.
MANY = 2000


class SoapSettings(Settings):
    """The smooth overlap of atomic positions (Bartók, Kondor and Csányi, Phys. Rev. B 87, 184115, 2013)."""

    kind: Literal['soap'] = 'soap'
    """The SOAP power spectrum of the atomic density, averaged over the atoms."""
    r_cut_A: float = Field(default=5.0, gt=1.0)
    """Cutoff radius of the environment of an atom, in Å."""
    n_max: int = Field(default=8, ge=1)
    """Number of radial functions."""
    l_max: int = Field(default=6, ge=0, le=20)
    """Maximum degree of the spherical harmonics."""
    sigma_A: float = Field(default=0.5, gt=0)
    """Standard deviation of the Gaussian that represents an atom, in Å."""
    compression: Literal['auto'] | Compression = 'auto'
    """Compression of the features. Their number grows quadratically with the number of elements for ``off``, linearly
    for ``mu1nu1`` and ``crossover``, and not at all for ``mu2``. ``auto`` selects the first of these with at most
    2300 features. With the other defaults, this is ``off`` for up to 3 elements, ``mu1nu1`` for up to 5 and
    ``crossover`` for up to 9."""
    computed_by: Literal['autopipe', 'dscribe'] = 'autopipe'
    """The implementation: this package (``autopipe``) or the library ``dscribe``. Both give the same values, but
    ``dscribe`` takes about twice as long."""


def choose_compression(settings: SoapSettings, n_species: int) -> Compression:
    """Return the compression for the given number of elements."""
    if settings.compression != 'auto':
        return settings.compression
    angular = settings.l_max + 1
    n_radial = settings.n_max
    n_features = {
        'off': n_species * n_radial * (n_species * n_radial + 1) // 2 * angular,
        'mu1nu1': n_species * n_radial**2 * angular,
        'crossover': n_species * n_radial * (n_radial + 1) // 2 * angular,
    }
    order: tuple[Compression, ...] = ('off', 'mu1nu1', 'crossover')
    return next((name for name in order if n_features[name] <= MAX_FEATURES), 'mu2')


def describe_structures(
    structures: Iterable[Atoms], n_structures: int, species: Sequence[int], settings: SoapSettings
) -> np.ndarray:
    """Compute the descriptors of structures, in blocks.

    Each vector is normalised to unit length. For any settings, distances are therefore between 0 (identical) and √2
    (nothing in common). A structure and its supercells have the same vector.

    Parameters
    ----------
    structures, n_structures
        The structures and their number.
    species
        Atomic numbers of all elements that occur.
    settings
        The settings of the descriptor.

    Returns
    -------
    numpy.ndarray
        float32 (n_structures, n_features).
    """
    n_jobs = _count_cores() if n_structures >= MANY else 1
    features: np.ndarray | None = None
    start = 0
    for block in describe_in_blocks(structures, species, settings, n_jobs):
        if features is None:
            features = np.empty((n_structures, block.shape[1]), dtype=np.float32)
        features[start : start + len(block)] = block
        start += len(block)
    assert features is not None
    return features


def describe_in_blocks(
    structures: Iterable[Atoms], species: Sequence[int], settings: SoapSettings, n_jobs: int
) -> Iterator[np.ndarray]:
    """Compute the descriptors in ``n_jobs`` processes, and yield them in blocks, float32 (b, n_features)."""
    remaining = iter(structures)
    if n_jobs == 1:
        describe = _make_soap(settings, species).average
        while block := list(islice(remaining, BLOCK)):
            yield _describe(describe, block)
        return
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs)
    while block := list(islice(remaining, n_jobs * BLOCK)):
        parts = [block[start : start + PART] for start in range(0, len(block), PART)]
        yield np.concatenate(parallel(delayed(_describe_part)(part, species, settings) for part in parts))


def _count_cores() -> int:
    from joblib import cpu_count

    return int(cpu_count())


def describe_environments(
    structures: Iterable[Atoms],
    species: Sequence[int],
    settings: SoapSettings,
    centres: Iterable[np.ndarray] | None = None,
) -> Iterator[np.ndarray]:
    """Yield the normalised descriptors of atoms of each structure, float32 (n, n_features).

    Parameters
    ----------
    structures
        The structures.
    species
        Atomic numbers of all elements that occur.
    settings
        The settings of the descriptor.
    centres
        The indices of the described atoms of each structure; None for all atoms.
    """
    soap = _make_soap(settings, species)
    for atoms, indices in zip(structures, repeat(None) if centres is None else centres, strict=False):
        yield _scale(soap.environments(atoms, indices))


def _describe_part(structures: list[Atoms], species: Sequence[int], settings: SoapSettings) -> np.ndarray:
    return _describe(_make_soap(settings, species).average, structures)


def _describe(describe: Callable[[Atoms], np.ndarray], structures: list[Atoms]) -> np.ndarray:
    return _scale(np.array([describe(atoms) for atoms in structures]))


def _scale(described: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = described / np.linalg.norm(described, axis=1, keepdims=True)
    return scaled.astype(np.float32)


def _make_soap(settings: SoapSettings, species: Sequence[int]) -> PowerSpectrum | DscribeSoap:
    ordered = sorted(species)
    compression = choose_compression(settings, len(species))
    # mu2 cannot distinguish elements with equal weights.
    weights = 1.0 + np.array(ordered) / 100.0
    r_cut, n_max, l_max, sigma = settings.r_cut_A, settings.n_max, settings.l_max, settings.sigma_A
    if settings.computed_by == 'dscribe':
        return DscribeSoap(ordered, compression, weights, r_cut=r_cut, n_max=n_max, l_max=l_max, sigma=sigma)
    return PowerSpectrum(DensityExpansion(r_cut, n_max, l_max, sigma), ordered, compression, weights)
