"""How well a selection covers the explored frames, compared with random selections of the same size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from aiida_mlip_autopipe.core.randomness import make_rng
from aiida_mlip_autopipe.core.threads import one_thread
from aiida_mlip_autopipe.descriptors.pca import fit_pca
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.sampling.coverage.entropy import describe_by_quests, entropy_and_diversity
from aiida_mlip_autopipe.sampling.coverage.score import N_COMPONENTS, CoverageScore
from aiida_mlip_autopipe.sampling.pool.describe import describe_pool
from aiida_mlip_autopipe.sampling.pool.frames import FramePool, collect_frames
from aiida_mlip_autopipe.sampling.select import Selection
from aiida_mlip_autopipe.structures.dft_cost import cubed_atoms
from aiida_mlip_autopipe.structures.trajectory import Trajectory

# Maximum number of unchosen frames on the map.
MAX_MAPPED = 4000
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
    random_seed
        The random seed of the random selections.
    n_random
        The number of random selections. The result contains the medians over them.

    Returns
    -------
    dict
        The following entries, as JSON.

        ``curve`` and ``random_curve``: maximum and mean distance of a candidate to the nearest chosen frame
        (``radius``, ``mean``) after ``n`` choices.

        ``scores`` and ``random_scores``: ``vendi`` (the effective number of different structures: Friedman and Dieng,
        TMLR 2023), ``occupied`` (see `CoverageScore`), ``nearest`` (median distance of a chosen frame to the nearest
        other chosen frame), ``entropy`` and ``diversity`` of a sample of the environments (see
        `entropy_and_diversity`), ``force_95_eV_A`` (95th percentile of the largest force in a frame) and
        ``atoms_cubed`` (the sum of the cubed numbers of atoms, to which the cost of DFT is proportional).

        ``map``: the first two principal components of candidates and chosen frames, with their names and their indices
        (``trajectory``, ``frame``).
    """
    pool = collect_frames(trajectories)
    described = describe_pool(pool, descriptor or SoapSettings())
    features = described.candidates.points
    components = fit_pca(features).keep(N_COMPONENTS).apply(features)
    positions = {pair: i for i, pair in enumerate(zip(pool.trajectory_indices, pool.frame_indices, strict=True))}
    chosen = np.array(
        [positions[pair] for pair in zip(selection.trajectory_indices, selection.frame_indices, strict=True)]
    )
    steps = sorted({int(n) for n in np.geomspace(1, len(chosen), 20).round()})
    curves, scores = [], []
    for number in range(n_random):
        rng = make_rng(random_seed, 'assessment', str(number))
        drawn = rng.permutation(len(pool))[: len(chosen)]
        curves.append(_curve(features, drawn, steps))
        scores.append(_descriptor_scores(features, components, drawn) | _environment_and_cost_scores(pool, drawn))
    return {
        'descriptor': described.report,
        'n_candidates': len(pool),
        'curve': _curve(features, chosen, steps),
        'random_curve': {name: np.median([curve[name] for curve in curves], axis=0).tolist() for name in curves[0]},
        'scores': _descriptor_scores(features, components, chosen) | _environment_and_cost_scores(pool, chosen),
        'random_scores': {name: float(np.median([score[name] for score in scores])) for name in scores[0]},
        'map': _map(pool, components, chosen),
    }


def _curve(features: np.ndarray, chosen: np.ndarray, steps: Sequence[int]) -> dict[str, list[float]]:
    centred = features - features.mean(axis=0)
    norms = np.einsum('ij,ij->i', centred, centred)
    squared = np.full(len(features), np.inf, dtype=np.float32)
    curve: dict[str, list[float]] = {'n': [], 'radius': [], 'mean': []}
    for n, index in enumerate(chosen, start=1):
        np.minimum(squared, norms + norms[index] - 2.0 * (centred @ centred[index]), out=squared)
        if n in steps:
            distances = np.sqrt(np.maximum(squared, 0.0))
            for name, value in (('n', n), ('radius', distances.max()), ('mean', distances.mean())):
                curve[name].append(float(value))
    return curve


def _descriptor_scores(features: np.ndarray, components: np.ndarray, chosen: np.ndarray) -> dict[str, float]:
    subset = features[chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), MAX_VENDI)).astype(np.int64)]]
    similarity = (subset @ subset.T).astype(np.float64)
    eigenvalues = np.clip(np.linalg.eigvalsh(similarity / len(subset)), 1e-300, None)
    others = np.sqrt(np.maximum(2.0 - 2.0 * similarity, 0.0)) + np.diag(np.full(len(subset), np.inf))
    return {
        'vendi': float(np.exp(-(eigenvalues * np.log(eigenvalues)).sum())),
        'occupied': CoverageScore(components).of(components[chosen]),
        'nearest': float(np.median(others.min(axis=1))) if len(subset) > 1 else 0.0,
    }


def _environment_and_cost_scores(pool: FramePool, chosen: np.ndarray) -> dict[str, float]:
    subset = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), MAX_SAMPLED)).astype(np.int64)]
    environments = describe_by_quests(pool.subset(subset).structures())
    sample = np.linspace(0, len(environments) - 1, min(len(environments), MAX_ENVIRONMENTS)).astype(np.int64)
    entropy, diversity = entropy_and_diversity(environments[sample])
    return {
        'entropy': entropy,
        'diversity': diversity,
        'force_95_eV_A': float(np.quantile(pool.subset(chosen).largest_forces(), 0.95)),
        'atoms_cubed': cubed_atoms(pool.n_atoms()[chosen]),
    }


def _map(pool: FramePool, components: np.ndarray, chosen: np.ndarray) -> dict[str, Any]:
    others = np.setdiff1d(np.arange(len(pool)), chosen)
    shown = others[np.linspace(0, len(others) - 1, min(len(others), MAX_MAPPED)).astype(np.int64)]
    return {'candidates': _points(pool, components, shown), 'chosen': _points(pool, components, chosen)}


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
    coordinates[:, : components.shape[1]] = components[indices, :2]
    return {
        'x': [round(float(x), 6) for x in coordinates[:, 0]],
        'y': [round(float(y), 6) for y in coordinates[:, 1]],
        'name': [
            f'{formula}, seed {seed}, step {step}, {T:.0f} K, {E:.3f} eV/atom' for formula, seed, step, T, E in details
        ],
        'trajectory': subset.trajectory_indices.tolist(),
        'frame': subset.frame_indices.tolist(),
    }
