"""The environments of the atoms of a reference dataset, which the environments of a run are compared with."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from scipy.spatial.distance import cdist

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.reading.arrays import open_npz, require_array
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings, describe_environments

REFERENCE_VERSION = '2'
"""Increase this if a change to this module changes the environments or the threshold.

A change to SOAP increases `DESCRIPTORS_VERSION`, which the calculation of the environments also has as an input.
"""

MAX_ENVIRONMENTS = 2000
"""Maximum number of environments, which limits the size of the file and the time of each comparison."""

MIN_THRESHOLD = 1e-6
"""A smaller distance can be a rounding error, because the descriptors have single precision."""

ARRAYS = ('environments', 'numbers', 'species', 'threshold')


@dataclass(frozen=True, eq=False)
class ReferenceEnvironments:
    """Environments of a reference dataset.

    Attributes
    ----------
    environments
        Normalised SOAP vectors, float32 (n, n_features).
    numbers
        Atomic number of each environment, (n,).
    species
        Atomic numbers that the descriptor covers, in ascending order.
    threshold
        The requested quantile of the distances within the dataset; None if no quantile was requested.
    """

    environments: np.ndarray
    numbers: np.ndarray
    species: tuple[int, ...]
    threshold: float | None

    def check(self, numbers: np.ndarray, limit: float | None) -> None:
        """Check that a run can be compared with these environments.

        Parameters
        ----------
        numbers
            The atomic numbers of the seed.
        limit
            The limit of the trusted region; None without a limit.

        Raises
        ------
        AutopipeError
            If the descriptor does not cover an element, or the limit does not exceed the threshold.
        """
        if not set(numbers.tolist()) <= set(self.species):
            raise AutopipeError(
                Code.VALUE_INVALID, 'the environments of the reference dataset do not cover all elements of the seed'
            )
        check_limit(limit, self.threshold)

    def lacking(self, numbers: np.ndarray) -> list[str]:
        """Return the symbols of the elements of a seed that the dataset lacks."""
        return [chemical_symbols[number] for number in sorted(set(numbers.tolist()) - set(self.numbers.tolist()))]

    def dump(self) -> bytes:
        """Return the content of a file. Equal environments give equal bytes."""
        buffer = io.BytesIO()
        threshold = np.nan if self.threshold is None else self.threshold
        values = (self.environments, self.numbers, np.array(self.species), np.array(threshold))
        np.savez(buffer, **dict(zip(ARRAYS, values, strict=True)))  # type: ignore[arg-type]
        return buffer.getvalue()

    @classmethod
    def read(cls, path: Path) -> ReferenceEnvironments:
        """Read a file with the content from `dump`.

        Raises
        ------
        AutopipeError
            If the file is missing or cannot be read.
        """
        try:
            with open_npz(path) as file:
                environments = require_array(file, 'environments', 'float', None, None, finite=True)
                numbers = require_array(file, 'numbers', 'integer', len(environments))
                species = require_array(file, 'species', 'integer', None)
                threshold = require_array(file, 'threshold', 'float')
        except (OSError, ValueError) as error:
            raise AutopipeError(
                Code.FILE_UNREADABLE, f'the environments of the reference dataset cannot be read from {path}: {error}'
            ) from error
        return cls(environments, numbers, tuple(species.tolist()), None if np.isnan(threshold) else float(threshold))


def describe_reference(
    structures: Sequence[Atoms], species: Sequence[int], settings: SoapSettings, quantile: float | None = None
) -> ReferenceEnvironments:
    """Compute the environments of a reference dataset.

    If there are more than `MAX_ENVIRONMENTS`, each element keeps the same number of environments, or all of them if it
    has fewer. The kept environments are evenly spaced in the order of the dataset.

    Parameters
    ----------
    structures
        The structures of the dataset.
    species
        Atomic numbers that the descriptor covers: those of the dataset and of the seeds that are compared with it.
    settings
        The settings of the descriptor.
    quantile
        The threshold is this quantile of the distance between an environment and the nearest one of the same element
        in another structure.

    Raises
    ------
    AutopipeError
        If a quantile is requested, but no element occurs in two structures, or the quantile is zero within rounding
        errors, as for a dataset with duplicate structures.
    """
    numbers = np.concatenate([atoms.numbers for atoms in structures])
    owners = np.repeat(np.arange(len(structures)), [len(atoms) for atoms in structures])
    kept = _choose(numbers)
    environments = np.concatenate(list(_describe_kept(structures, owners, kept, sorted(species), settings)))
    numbers, owners = numbers[kept], owners[kept]
    threshold = None
    if quantile is not None:
        threshold = _quantile(distances_within(environments, numbers, owners), quantile)
    return ReferenceEnvironments(environments, numbers, tuple(sorted(species)), threshold)


def _quantile(distances: np.ndarray, quantile: float) -> float:
    """Return the threshold that is a quantile of the distances within a dataset."""
    if not len(distances):
        raise AutopipeError(
            Code.VALUE_INVALID, 'a quantile needs a reference dataset in which an element occurs in two structures'
        )
    threshold = float(np.quantile(distances, quantile))
    if threshold < MIN_THRESHOLD:
        raise AutopipeError(
            Code.OUT_OF_RANGE,
            f'the {quantile:g} quantile of the distances within the reference dataset is {threshold:.1g}, which is '
            'zero within rounding errors, so every frame would be new; remove duplicate structures from the dataset, '
            'increase exploration.novelty.threshold_quantile, or set exploration.novelty.threshold instead',
        )
    return threshold


def check_limit(limit: float | None, threshold: float | None) -> None:
    """Check that the limit of the trusted region exceeds a threshold that is a quantile.

    If an argument is None, nothing is checked.

    Raises
    ------
    AutopipeError
        If the limit does not exceed the threshold.
    """
    if limit is not None and threshold is not None and limit <= threshold:
        raise AutopipeError(
            Code.OUT_OF_RANGE,
            f'exploration.novelty.limit, {limit:g}, must exceed the threshold, {threshold:.4g}, which is the quantile '
            'of the distances within the reference dataset',
        )


def count_environments(numbers: np.ndarray) -> dict[str, int]:
    """Return the number of environments of each element, by its symbol."""
    return {chemical_symbols[number]: n for number, n in sorted(Counter(numbers.tolist()).items())}


def distances_within(environments: np.ndarray, numbers: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Return the distance of each environment from the nearest one of the same element in another structure.

    Parameters
    ----------
    environments
        Normalised vectors, (n, n_features).
    numbers
        Atomic numbers, (n,).
    owners
        The index of the structure of each environment, (n,).

    Returns
    -------
    numpy.ndarray
        The distances, without environments of elements that occur in one structure only.
    """
    found = []
    for number in np.unique(numbers):
        same = numbers == number
        distances = cdist(environments[same], environments[same])
        distances[owners[same][:, np.newaxis] == owners[same]] = np.inf
        found.append(distances.min(axis=1))
    nearest = np.concatenate(found)
    finite: np.ndarray = nearest[np.isfinite(nearest)]
    return finite


def share_limit(available: Mapping[int, int], limit: int) -> dict[int, int]:
    """Return how many environments each element keeps, so that their total does not exceed a limit.

    Parameters
    ----------
    available
        The number of environments of each element, by atomic number.
    limit
        The limit.
    """
    shares, left = {}, limit
    for position, (number, n) in enumerate(sorted(available.items(), key=lambda item: (item[1], item[0]))):
        shares[number] = min(n, left // (len(available) - position))
        left -= shares[number]
    return shares


def _choose(numbers: np.ndarray) -> np.ndarray:
    """Return the ascending indices of the environments that are kept."""
    shares = share_limit(Counter(numbers.tolist()), MAX_ENVIRONMENTS)
    indices = {number: np.flatnonzero(numbers == number) for number in shares}
    # The floor of evenly spaced numbers. Integer arithmetic is exact.
    chosen = [found[np.arange(shares[number]) * len(found) // shares[number]] for number, found in indices.items()]
    return np.sort(np.concatenate(chosen))


def _describe_kept(
    structures: Sequence[Atoms], owners: np.ndarray, kept: np.ndarray, species: Sequence[int], settings: SoapSettings
) -> Iterator[np.ndarray]:
    """Return the kept environments of each structure that has some."""
    first = np.searchsorted(owners, np.arange(len(structures)))
    used = np.unique(owners[kept])
    centres = [kept[owners[kept] == number] - first[number] for number in used]
    return describe_environments([structures[number] for number in used], species, settings, centres)
