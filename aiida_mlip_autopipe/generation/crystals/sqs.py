"""Special quasi-random structures: arrangements whose correlations are those of the random alloy."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.generation.processes import spread

STEPS_PER_PAIR = 5000


class SqsSettings(Settings):
    """How a special quasi-random structure is searched for."""

    pair_cutoff: PositiveFloat = 2.05
    """Pairs of sites up to this distance, in nearest-neighbour distances, are to be uncorrelated."""
    triplet_cutoff: float = Field(default=1.05, ge=0)
    """The same for triplets; 0 leaves them out."""
    n_steps: PositiveInt | None = None
    """Steps of one annealing; by default 5000 for each pair of elements, since more of them are harder to arrange."""
    n_restarts: PositiveInt = 1
    """Annealings, of which the best result is kept; `mlip-autopipe generate` spreads them over its processes."""
    time_limit_s: PositiveFloat | None = None
    """No new annealing is begun after this time, and the best so far is kept. With it the result depends on the speed
    of the machine and the number of processes; without it on neither."""


def find_sqs(
    lattice: Atoms,
    counts: dict[str, int],
    repeats: tuple[int, int, int],
    settings: SqsSettings,
    rng: np.random.Generator,
) -> tuple[Atoms, float]:
    """Return the arrangement with the cluster correlations nearest to those of the random alloy.

    The search is icet's simulated annealing (A. van de Walle et al., Calphad 42, 13, 2013).

    Parameters
    ----------
    lattice
        The unit cell of the lattice.
    counts
        Atoms of each element in the supercell.
    repeats
        The supercell in unit cells.
    settings
        How to search.
    rng
        Source of the annealings' random numbers.

    Returns
    -------
    Atoms, float
        The structure and its largest Warren–Cowley parameter within the pairs' cutoff.
    """
    try:
        import icet  # noqa: F401 (asked for before anything is spread over processes)
    except ImportError as error:
        raise AutopipeError(
            Code.PACKAGE_MISSING, "the arrangement 'sqs' needs icet: install aiida-mlip-autopipe[generation]"
        ) from error

    # All streams are drawn beforehand, so that neither the time limit nor the number of processes changes one.
    streams = [int(rng.integers(2**31)) for _ in range(settings.n_restarts)]
    until = np.inf if settings.time_limit_s is None else time.monotonic() + settings.time_limit_s
    begun = (
        (lattice, counts, repeats, settings, stream)
        for number, stream in enumerate(streams)
        if not number or time.monotonic() < until
    )
    # Of equally good arrangements the first stays.
    return min(spread(_anneal, begun), key=lambda found: found[1])


def _anneal(
    lattice: Atoms, counts: dict[str, int], repeats: tuple[int, int, int], settings: SqsSettings, stream: int
) -> tuple[Atoms, float]:
    """Return the result of one annealing and its largest Warren–Cowley parameter."""
    from icet import ClusterSpace
    from icet.tools.structure_generation import generate_sqs_from_supercells

    logging.getLogger('icet').setLevel(logging.ERROR)
    supercell = lattice.repeat(repeats)
    nearest = float(np.sort(lattice.repeat(3).get_all_distances(mic=True)[0])[1])
    cutoffs = [factor * nearest for factor in (settings.pair_cutoff, settings.triplet_cutoff) if factor]
    space = ClusterSpace(lattice, cutoffs, list(counts))
    concentrations = {symbol: count / len(supercell) for symbol, count in counts.items()}
    n_steps = settings.n_steps or STEPS_PER_PAIR * (len(counts) * (len(counts) - 1) // 2)
    with _global_state_kept(), _scores_rounded():
        found = generate_sqs_from_supercells(space, [supercell], concentrations, n_steps=n_steps, random_seed=stream)
    return found, largest_short_range_order(found, settings.pair_cutoff * nearest)


def largest_short_range_order(atoms: Atoms, cutoff_A: float) -> float:
    """Return the largest Warren–Cowley parameter of any two elements in any shell up to a cutoff.

    ``α_ij = 1 - p_ij / c_j`` with the share p_ij of j among the neighbours of i in the shell (J. M. Cowley, Phys.
    Rev. 77, 669, 1950); the random alloy has 0.
    """
    from matscipy.neighbours import neighbour_list

    first, second, distances = neighbour_list(
        'ijd', positions=atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc, cutoff=cutoff_A
    )
    shells = np.unique(np.round(distances, 3), return_inverse=True)[1]
    numbers, species = np.unique(atoms.numbers, return_inverse=True)
    shares = np.bincount(species) / len(atoms)
    counts = np.zeros((shells.max() + 1, len(numbers), len(numbers)))
    np.add.at(counts, (shells, species[first], species[second]), 1)
    return float(np.abs(1 - counts / counts.sum(axis=2, keepdims=True) / shares).max())


@contextmanager
def _global_state_kept() -> Iterator[None]:
    """Keep the state of Python's and NumPy's global generators, which icet reseeds."""
    state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 (it is this state that is kept)
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)  # noqa: NPY002


@contextmanager
def _scores_rounded() -> Iterator[None]:
    """Round icet's scores: of two that are equal but for the last bit, the sign decides whether a number is drawn."""
    from mchammer.calculators import target_vector_calculator as module

    exact = module.compare_cluster_vectors
    module.compare_cluster_vectors = lambda *args, **kwargs: round(float(exact(*args, **kwargs)), 9)
    try:
        yield
    finally:
        module.compare_cluster_vectors = exact
