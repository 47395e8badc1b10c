"""Special quasi-random structures: arrangements with the correlations of the random alloy."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.randomness import global_random_state_restored
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.generation.limits import check_time, show_progress, time_left, time_limit
from aiida_mlip_autopipe.generation.processes import parallel_map

STEPS_PER_PAIR = 5000


class SqsSettings(Settings):
    """Settings of the search for special quasi-random structures."""

    pair_cutoff: PositiveFloat = 2.05
    """Maximum distance between two sites that should be uncorrelated, in units of the nearest-neighbour distance."""
    triplet_cutoff: float = Field(default=1.05, ge=0)
    """Maximum distance between two sites of a triplet, in the same unit; 0 ignores triplets."""
    n_steps: PositiveInt | None = None
    """Number of steps of an annealing run; by default 5000 for each pair of elements."""
    n_restarts: PositiveInt = 1
    """Number of annealing runs. The best result is kept. `mlip-autopipe generate` runs them in parallel."""

    @model_validator(mode='before')
    @classmethod
    def _drop_time_limit(cls, data: Any) -> Any:
        """Ignore `time_limit_s: null`, which stored configs of earlier versions contain."""
        if not isinstance(data, Mapping) or 'time_limit_s' not in data:
            return data
        if data['time_limit_s'] is not None:
            raise fault(Code.KEY_RENAMED, 'the key sqs.time_limit_s was replaced by validation.time_limit_s')
        return {key: value for key, value in data.items() if key != 'time_limit_s'}


def find_sqs(
    lattice: Atoms,
    counts: dict[str, int],
    repeats: tuple[int, int, int],
    settings: SqsSettings,
    rng: np.random.Generator,
) -> tuple[Atoms, float]:
    """Return the arrangement whose cluster correlations are closest to those of the random alloy.

    The search is simulated annealing in icet (A. van de Walle et al., Calphad 42, 13, 2013).

    Parameters
    ----------
    lattice
        The unit cell of the lattice.
    counts
        Number of atoms of each element in the supercell.
    repeats
        Size of the supercell in unit cells.
    settings
        Settings of the search.
    rng
        Source of the random seeds of the annealing runs.

    Returns
    -------
    Atoms, float
        The structure, and its largest Warren–Cowley parameter within the pair cutoff.
    """
    try:
        import icet  # noqa: F401 (reports a missing package before processes start)
    except ImportError as error:
        raise AutopipeError(
            Code.PACKAGE_MISSING, "the arrangement 'sqs' needs icet: install aiida-mlip-autopipe[generation]"
        ) from error

    # Draw all random seeds first, so that they do not depend on the number of processes.
    random_seeds = [int(rng.integers(2**31)) for _ in range(settings.n_restarts)]

    def runs() -> Iterator[tuple[object, ...]]:
        for number, random_seed in enumerate(random_seeds):
            show_progress(f'annealing {number + 1} of {len(random_seeds)}')
            yield lattice, counts, repeats, settings, random_seed, time_left()

    # `min` keeps the first of equally good arrangements.
    return min(parallel_map(_anneal, runs()), key=lambda found: found[1])


def _anneal(
    lattice: Atoms,
    counts: dict[str, int],
    repeats: tuple[int, int, int],
    settings: SqsSettings,
    random_seed: int,
    limit: tuple[float | None, str],
) -> tuple[Atoms, float]:
    """Return the result of an annealing run and its largest Warren–Cowley parameter."""
    from icet import ClusterSpace
    from icet.tools.structure_generation import generate_sqs_from_supercells

    logging.getLogger('icet').setLevel(logging.ERROR)
    supercell = lattice.repeat(repeats)
    nearest = float(np.sort(lattice.repeat(3).get_all_distances(mic=True)[0])[1])
    cutoffs = [factor * nearest for factor in (settings.pair_cutoff, settings.triplet_cutoff) if factor]
    space = ClusterSpace(lattice, cutoffs, list(counts))
    concentrations = {symbol: count / len(supercell) for symbol, count in counts.items()}
    n_steps = settings.n_steps or STEPS_PER_PAIR * (len(counts) * (len(counts) - 1) // 2)
    with global_random_state_restored(), _round_scores(), time_limit(*limit):
        found = generate_sqs_from_supercells(
            space, [supercell], concentrations, n_steps=n_steps, random_seed=random_seed
        )
    return found, largest_short_range_order(found, settings.pair_cutoff * nearest)


def largest_short_range_order(atoms: Atoms, cutoff_A: float) -> float:
    """Return the largest absolute Warren–Cowley parameter of any pair of elements in any shell up to a cutoff.

    ``α_ij = 1 - p_ij / c_j``, where p_ij is the fraction of j among the neighbours of i in the shell (J. M. Cowley,
    Phys. Rev. 77, 669, 1950). It is 0 in the random alloy.
    """
    from matscipy.neighbours import neighbour_list

    first, second, distances = neighbour_list(
        'ijd', positions=atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc, cutoff=cutoff_A
    )
    shells = np.unique(np.round(distances, 3), return_inverse=True)[1]
    numbers, species = np.unique(atoms.numbers, return_inverse=True)
    fractions = np.bincount(species) / len(atoms)
    counts = np.zeros((shells.max() + 1, len(numbers), len(numbers)))
    np.add.at(counts, (shells, species[first], species[second]), 1)
    return float(np.abs(1 - counts / counts.sum(axis=2, keepdims=True) / fractions).max())


@contextmanager
def _round_scores() -> Iterator[None]:
    """Round the scores of icet, and check the time at each step.

    Rounding errors would otherwise decide whether a random number is drawn.
    """
    from mchammer.calculators import target_vector_calculator as module

    exact = module.compare_cluster_vectors

    def rounded(*args: Any, **kwargs: Any) -> float:
        check_time()
        return round(float(exact(*args, **kwargs)), 9)

    module.compare_cluster_vectors = rounded
    try:
        yield
    finally:
        module.compare_cluster_vectors = exact
