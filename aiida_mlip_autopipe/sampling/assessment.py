"""How well a selection covers the explored frames, compared with random selections of the same size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from aiida_mlip_autopipe.core.randomness import make_rng
from aiida_mlip_autopipe.core.threads import one_thread
from aiida_mlip_autopipe.descriptors.describe import Descriptors
from aiida_mlip_autopipe.descriptors.pca import fit_pca
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.sampling.coverage.entropy import describe_by_quests, entropy_and_diversity
from aiida_mlip_autopipe.sampling.coverage.score import N_COMPONENTS, CoverageScore
from aiida_mlip_autopipe.sampling.pool.describe import describe_ahead, describe_pool
from aiida_mlip_autopipe.sampling.pool.frames import FramePool, collect_frames
from aiida_mlip_autopipe.sampling.select import Selection
from aiida_mlip_autopipe.structures.dft_cost import cubed_atoms
from aiida_mlip_autopipe.structures.trajectory import Trajectory

# Maximum number of candidates with which the selections are compared, and which the map shows.
MAX_COMPARED = 2000
# Maximum number of structures for the Vendi score, whose cost grows with the cube of this number.
MAX_VENDI = 1000
# Maximum numbers of structures and of environments for the entropy. The cost grows with the square of the latter.
MAX_SAMPLED, MAX_ENVIRONMENTS = 200, 2000


@one_thread()
def assess_selection(
    trajectories: Sequence[Trajectory],
    selection: Selection,
    descriptor: SoapSettings | None = None,
    *,
    described: Mapping[str, Descriptors] | None = None,
    random_seed: int,
    n_random: int = 5,
) -> dict[str, Any]:
    """Compare a selection with random selections from the same candidates.

    Parameters
    ----------
    trajectories
        The trajectories from which the frames were selected.
    selection
        The selection, with its frames in the order in which they were chosen.
    descriptor
        The descriptor for the distances.
    described
        Descriptors of the trajectories that jobs computed, by the key of the descriptor. Others are computed here.
    random_seed
        The random seed of the random selections, and of the candidates that are compared.
    n_random
        The number of random selections. The result contains the medians over them.

    Returns
    -------
    dict
        The following entries, as JSON.

        ``n_candidates`` and ``n_compared``: the number of candidates, and of those with which the selections are
        compared: all of them, or `MAX_COMPARED` random ones.

        ``curve`` and ``random_curve``: maximum and mean distance of a compared candidate to the nearest chosen frame
        (``radius``, ``mean``) after ``n`` choices.

        ``scores`` and ``random_scores``: ``vendi`` (the effective number of different structures: Friedman and Dieng,
        TMLR 2023), ``occupied`` (see `CoverageScore`), ``nearest`` (median distance of a chosen frame to the nearest
        other chosen frame), ``entropy`` and ``diversity`` of a sample of the environments (see
        `entropy_and_diversity`), ``force_95_eV_A`` (95th percentile of the largest force in a frame) and
        ``atoms_cubed`` (the sum of the cubed numbers of atoms, to which the cost of DFT is proportional).

        ``map``: the first two principal components of candidates and chosen frames, with their names and their indices
        (``trajectory``, ``frame``).
    """
    settings = descriptor or SoapSettings()
    pool = collect_frames(trajectories)
    positions = {pair: i for i, pair in enumerate(zip(pool.trajectory_indices, pool.frame_indices, strict=True))}
    chosen = np.array(
        [positions[pair] for pair in zip(selection.trajectory_indices, selection.frame_indices, strict=True)]
    )
    draws = [
        make_rng(random_seed, 'assessment', str(number)).permutation(len(pool))[: len(chosen)]
        for number in range(n_random)
    ]
    compared = np.arange(len(pool))
    if len(pool) > MAX_COMPARED:
        compared = make_rng(random_seed, 'assessment', 'compared').permutation(len(pool))[:MAX_COMPARED]
    # Only the descriptors of these frames are needed.
    used = np.unique(np.concatenate([compared, chosen, *draws]))
    described_pool = describe_ahead(pool, {'descriptor': settings.model_dump(mode='json')}, described or {})
    features = describe_pool(described_pool.subset(used), settings)
    space = _Space(pool, used, features.candidates.points, np.sort(compared))
    curves = [space.curve(drawn) for drawn in draws]
    scores = [space.scores(drawn) for drawn in draws]
    return {
        'descriptor': features.report,
        'n_candidates': len(pool),
        'n_compared': len(compared),
        'curve': space.curve(chosen),
        'random_curve': {name: np.median([curve[name] for curve in curves], axis=0).tolist() for name in curves[0]},
        'scores': space.scores(chosen),
        'random_scores': {name: float(np.median([score[name] for score in scores])) for name in scores[0]},
        'map': space.map(chosen),
    }


class _Space:
    """The descriptors of frames of a pool, in which selections are compared with a part of the candidates.

    Parameters
    ----------
    pool
        The candidates.
    used
        Indices of the candidates with a descriptor, in ascending order (u,).
    features
        Their descriptors (u, d).
    compared
        Indices of the candidates with which the selections are compared, in ascending order. They have a descriptor.
    """

    def __init__(self, pool: FramePool, used: np.ndarray, features: np.ndarray, compared: np.ndarray):
        self._pool, self._used, self._features, self._compared = pool, used, features, compared
        of_compared = features[self._places(compared)]
        self._mean = of_compared.mean(axis=0)
        self._centred = of_compared - self._mean
        self._components = fit_pca(of_compared).keep(N_COMPONENTS).apply(features)
        self._coverage = CoverageScore(self._components[self._places(compared)])

    def _places(self, indices: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._used, indices)

    def curve(self, chosen: np.ndarray) -> dict[str, list[float]]:
        """Return the distances from the compared candidates to the nearest chosen frame, by the number of choices."""
        steps = sorted({int(n) for n in np.geomspace(1, len(chosen), 20).round()})
        points = self._features[self._places(chosen)] - self._mean
        norms, chosen_norms = (np.einsum('ij,ij->i', these, these) for these in (self._centred, points))
        squared = np.full(len(norms), np.inf, dtype=np.float32)
        curve: dict[str, list[float]] = {'n': [], 'radius': [], 'mean': []}
        for start, n in pairwise([0, *steps]):
            products = self._centred @ points[start:n].T
            np.minimum(squared, norms + (chosen_norms[start:n] - 2.0 * products).min(axis=1), out=squared)
            distances = np.sqrt(np.maximum(squared, 0.0))
            for name, value in (('n', n), ('radius', distances.max()), ('mean', distances.mean())):
                curve[name].append(float(value))
        return curve

    def scores(self, chosen: np.ndarray) -> dict[str, float]:
        """Return the scores of a selection."""
        places = self._places(chosen)
        occupied = self._coverage.of(self._components[places])
        return _descriptor_scores(self._features[places], occupied) | _environment_and_cost_scores(self._pool, chosen)

    def map(self, chosen: np.ndarray) -> dict[str, Any]:
        """Return the points of the compared candidates that were not chosen, and of the chosen frames."""
        others = np.setdiff1d(self._compared, chosen)
        return {
            name: _points(self._pool, self._components[self._places(indices)], indices)
            for name, indices in (('candidates', others), ('chosen', chosen))
        }


def _descriptor_scores(chosen: np.ndarray, occupied: float) -> dict[str, float]:
    subset = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), MAX_VENDI)).astype(np.int64)]
    similarity = (subset @ subset.T).astype(np.float64)
    eigenvalues = np.clip(np.linalg.eigvalsh(similarity / len(subset)), 1e-300, None)
    others = np.sqrt(np.maximum(2.0 - 2.0 * similarity, 0.0)) + np.diag(np.full(len(subset), np.inf))
    return {
        'vendi': float(np.exp(-(eigenvalues * np.log(eigenvalues)).sum())),
        'occupied': occupied,
        'nearest': float(np.median(others.min(axis=1))) if len(subset) > 1 else 0.0,
    }


def _environment_and_cost_scores(pool: FramePool, chosen: np.ndarray) -> dict[str, float]:
    subset = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), MAX_SAMPLED)).astype(np.int64)]
    environments = describe_by_quests(list(pool.subset(subset).structures()), MAX_ENVIRONMENTS)
    entropy, diversity = entropy_and_diversity(environments)
    return {
        'entropy': entropy,
        'diversity': diversity,
        'force_95_eV_A': float(np.quantile(pool.subset(chosen).largest_forces(), 0.95)),
        'atoms_cubed': cubed_atoms(pool.n_atoms()[chosen]),
    }


def _points(pool: FramePool, components: np.ndarray, indices: np.ndarray) -> dict[str, list[Any]]:
    subset = pool.subset(indices)
    details = zip(
        subset.compositions(),
        subset.seed_ids(),
        (pool.trajectories[t].steps[f] for t, f in zip(subset.trajectory_indices, subset.frame_indices, strict=True)),
        subset.temperatures(),
        subset.energies_per_atom(),
        strict=True,
    )
    coordinates = np.zeros((len(indices), 2))
    coordinates[:, : components.shape[1]] = components[:, :2]
    return {
        'x': [round(float(x), 6) for x in coordinates[:, 0]],
        'y': [round(float(y), 6) for y in coordinates[:, 1]],
        'name': [
            f'{formula}, seed {seed}, step {step}, {T:.0f} K, {E:.3f} eV/atom' for formula, seed, step, T, E in details
        ],
        'trajectory': subset.trajectory_indices.tolist(),
        'frame': subset.frame_indices.tolist(),
    }
