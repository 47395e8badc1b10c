"""Describe a pool once, where samplers look at it more often."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from aiida_mlip_autopipe.descriptors.describe import (
    AnyDescriptor,
    Description,
    asked_descriptors,
    describe_pool,
    descriptor_key,
)
from aiida_mlip_autopipe.descriptors.environments import environments_of_pool
from aiida_mlip_autopipe.sampling.pool.frames import FramePool


def describe_once(pool: FramePool, settings: Any) -> FramePool:
    """Return the pool with all descriptors that a sampler and those within it ask for.

    Parameters
    ----------
    pool
        The candidates.
    settings
        Of the sampler, as dumped to JSON.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(AnyDescriptor)
    for asked in asked_descriptors(settings):
        descriptor = adapter.validate_python(asked.descriptor)
        known = pool.described.get(descriptor_key(descriptor, asked.of))
        if known is not None and known.knows_given(pool):
            continue
        given: np.ndarray | None
        if asked.of == 'environments':
            candidates, others, report = environments_of_pool(pool, descriptor)
            features, given, n_rows = candidates.points, others.points, candidates.n_atoms
        else:
            features, given, report = describe_pool(pool, descriptor)
            n_rows = np.ones(len(pool), dtype=np.int64)
        species = report.pop('species')
        del report['kind']
        spread = _spread(pool, features, n_rows)
        description = Description(spread, species, report, given if pool.given else None)
        pool = replace(pool, described={**pool.described, descriptor_key(descriptor, asked.of): description})
    return pool


def _spread(pool: FramePool, features: np.ndarray, n_rows: np.ndarray) -> list[np.ndarray]:
    """Return the features by trajectory, also of frames that are no candidates: zeros.

    Parameters
    ----------
    pool
        The candidates.
    features
        Theirs (r, d).
    n_rows
        How many of them each candidate has (m,), the same for all of a trajectory.
    """
    rows_of = dict(zip(pool.trajectory_indices.tolist(), n_rows.tolist(), strict=True))
    spread = [
        np.zeros((len(one) * rows_of.get(place, 0), features.shape[1]), dtype=np.float32)
        for place, one in enumerate(pool.trajectories)
    ]
    start = 0
    for trajectory, frame, n in zip(pool.trajectory_indices, pool.frame_indices, n_rows, strict=True):
        spread[trajectory][frame * n : (frame + 1) * n] = features[start : start + n]
        start += n
    return spread
