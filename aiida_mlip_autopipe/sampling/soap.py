"""Averaged SOAP: one vector a structure that does not change with rotation, translation or the order of atoms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.geometry.cell import complete_cell
from pydantic import Field

from aiida_mlip_autopipe.settings import Settings

Compression = Literal['off', 'mu1nu1', 'crossover', 'mu2']

# From this many features on, more of them cost time and memory and hardly tell more structures apart.
MAX_FEATURES = 2300
# Structures described at a time by each process; bounds the memory beside the result.
BLOCK = 256
# From so many structures on, all cores at hand are used: for fewer, starting the processes costs more than they save.
MANY = 2000


class SoapSettings(Settings):
    """The smooth overlap of atomic positions (Bartók, Kondor and Csányi, Phys. Rev. B 87, 184115, 2013)."""

    kind: Literal['soap'] = 'soap'
    """The power spectrum of the atomic density, averaged over the atoms."""
    r_cut_A: float = Field(default=5.0, gt=1.0)
    """Radius of an atom's environment in Å."""
    n_max: int = Field(default=8, ge=1)
    """Number of radial functions."""
    l_max: int = Field(default=6, ge=0, le=20)
    """Highest degree of the spherical harmonics."""
    sigma_A: float = Field(default=0.5, gt=0)
    """Width of the Gaussian that stands for an atom, in Å."""
    compression: Literal['auto'] | Compression = 'auto'
    """How the features grow with the number of elements: ``off`` quadratically, ``mu1nu1`` and ``crossover`` linearly,
    ``mu2`` not at all. ``auto`` takes the first of them that stays within 2300 features: with the other defaults
    ``off`` up to 3 elements, ``mu1nu1`` up to 5, ``crossover`` up to 9."""


def choose_compression(settings: SoapSettings, n_species: int) -> Compression:
    """Return the compression for a number of elements."""
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
    """Compute the descriptors, in blocks.

    Each vector is scaled to length one, so that a distance is between 0 (alike) and √2 (nothing in common) and does
    not depend on the settings' scale. A structure and its supercell have the same vector.

    Parameters
    ----------
    structures, n_structures
        What to describe, and how many there are.
    species
        Atomic numbers of all elements that occur.
    settings
        Radius, basis and compression.

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
    """Yield the descriptors of some structures at a time, float32 (b, n_features), by so many processes."""
    soap = _make_soap(settings, species)
    remaining = iter(structures)
    while block := [_with_volume(atoms) for atoms in islice(remaining, n_jobs * BLOCK)]:
        described = soap.create(block, n_jobs=n_jobs).reshape(len(block), -1)
        yield (described / np.linalg.norm(described, axis=1, keepdims=True)).astype(np.float32)


def _count_cores() -> int:
    from joblib import cpu_count

    return int(cpu_count())


def describe_environments(
    structures: Iterable[Atoms], species: Sequence[int], settings: SoapSettings
) -> Iterator[np.ndarray]:
    """Yield the descriptors of the atoms of each structure, not averaged: float32 (n_atoms, n_features), length one."""
    soap = _make_soap(settings, species, average='off')
    for atoms in structures:
        described = soap.create(_with_volume(atoms))
        yield (described / np.linalg.norm(described, axis=1, keepdims=True)).astype(np.float32)


def _make_soap(settings: SoapSettings, species: Sequence[int], average: Literal['outer', 'off'] = 'outer') -> Any:
    from ase.data import chemical_symbols
    from dscribe.descriptors import SOAP

    compression: dict[str, Any] = {'mode': choose_compression(settings, len(species))}
    if compression['mode'] == 'mu2':
        # Without weights all elements would look the same.
        compression['species_weighting'] = {chemical_symbols[z]: 1.0 + z / 100.0 for z in species}
    return SOAP(
        species=[chemical_symbols[z] for z in species],
        r_cut=settings.r_cut_A,
        n_max=settings.n_max,
        l_max=settings.l_max,
        sigma=settings.sigma_A,
        compression=compression,
        average=average,
        periodic=True,
        dtype='float64',
    )


def _with_volume(atoms: Atoms) -> Atoms:
    """Give a molecule the cell that dscribe asks for; directions that are not periodic do not enter."""
    if atoms.cell.rank < 3:
        atoms.set_cell(complete_cell(atoms.cell))
    return atoms
