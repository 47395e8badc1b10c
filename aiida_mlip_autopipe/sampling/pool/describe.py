"""Descriptors of the candidates of a pool, computed here or by jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.descriptors.describe import (
    AnyDescriptor,
    Descriptors,
    Of,
    descriptor_key,
    required_descriptors,
)
from aiida_mlip_autopipe.descriptors.environments import fit_components, project_environments, report_environments
from aiida_mlip_autopipe.descriptors.learned import LearnedSettings
from aiida_mlip_autopipe.descriptors.pca import PCA
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings, choose_compression, describe_structures
from aiida_mlip_autopipe.sampling.pool.features import Features, Points
from aiida_mlip_autopipe.sampling.pool.frames import FramePool, collect_frames
from aiida_mlip_autopipe.structures.trajectory import Trajectory

# The PCA of the environments uses about this many environments, from evenly spaced frames.
N_SAMPLE = 20_000


def describe_pool(pool: FramePool, settings: SoapSettings | LearnedSettings, of: Of = 'structures') -> Features:
    """Return the features of a pool. They are computed if they are not available.

    Parameters
    ----------
    pool
        The candidates, and the structures that already count as chosen.
    settings
        The settings of the descriptor.
    of
        Whether the features have one point for each structure or one for each atom.

    Raises
    ------
    AutopipeError
        If only a job can compute the descriptors, and no job has computed them for all structures.
    """
    known = pool.features.get(descriptor_key(settings, of))
    if known is not None:
        return known
    if isinstance(settings, LearnedSettings):
        raise AutopipeError(
            Code.DESCRIPTORS_MISSING,
            'learned descriptors are computed only by jobs of a campaign, and those of some structures are missing; '
            'use the descriptor soap',
        )
    return _describe_structures(pool, settings) if of == 'structures' else _describe_environments(pool, settings)


def describe_ahead(pool: FramePool, settings: Any, described: Mapping[str, Descriptors]) -> FramePool:
    """Add features to a pool: those that jobs have computed, and those that are needed more than once.

    A sampler runs several times if there is a coverage target or if it is part of another sampler. In other cases, the
    sampler itself computes the features of the frames that it considers, which may be only a part of the pool.

    Parameters
    ----------
    pool
        The candidates for the sampler.
    settings
        The settings of the selection and of its sampler, as dumped to JSON.
    described
        Descriptors of the trajectories that jobs computed, by the key of the descriptor.

    Raises
    ------
    AutopipeError
        See `describe_pool`.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(AnyDescriptor)
    all_required = list(required_descriptors(settings))
    is_used_once = all(required.place == '.descriptor' for required in all_required)
    features: dict[str, Features] = {}
    for required in all_required:
        descriptor = adapter.validate_python(required.descriptor)
        key = descriptor_key(descriptor, required.of)
        if key in features:
            continue
        found = _gather(pool, descriptor, required.of, described[key]) if key in described else None
        if found is not None:
            features[key] = found
        elif not is_used_once:
            features[key] = describe_pool(pool, descriptor, required.of)
    return replace(pool, features=features)


def fit_environments(trajectories: Sequence[Trajectory], species: Sequence[int], settings: SoapSettings) -> PCA:
    """Find the principal components of the environments in a sample of all frames with finite values.

    The components depend on the explored frames, but not on which of them a selection discards. All selections can
    therefore use the same components.

    Raises
    ------
    AutopipeError
        If no frame has finite values.
    """
    pool = collect_frames(trajectories)
    if not len(pool):
        raise AutopipeError(Code.CANDIDATES_MISSING, 'no frame has finite energies, forces, positions and cell')
    n_frames = max(1, min(len(pool), N_SAMPLE * len(pool) // int(pool.n_atoms().sum())))
    sample = pool.subset(np.linspace(0, len(pool) - 1, n_frames).astype(np.int64))
    return fit_components(sample.structures(), species, settings)


def _describe_structures(pool: FramePool, settings: SoapSettings) -> Features:
    species = pool.species
    points = describe_structures(pool.structures(), len(pool), species, settings)
    reference = points[:0]
    if pool.n_reference:
        reference = describe_structures(pool.reference_structures(), pool.n_reference, species, settings)
    details = {'compression': choose_compression(settings, len(species)), 'n_features': points.shape[1]}
    return Features.of_all(_one_point_each(points), _one_point_each(reference), _report(settings, species, details))


def _describe_environments(pool: FramePool, settings: SoapSettings) -> Features:
    species = pool.species
    pca = fit_environments(pool.trajectories, species, settings)
    points = np.concatenate(list(project_environments(pool.structures(), species, settings, pca)))
    reference = list(project_environments(pool.reference_structures(), species, settings, pca))
    return Features.of_all(
        Points(points, pool.n_atoms()),
        Points(np.concatenate([points[:0], *reference]), np.array([len(one) for one in reference], dtype=np.int64)),
        _report(settings, species, report_environments(settings, species, pca)),
    )


def _gather(
    pool: FramePool, settings: SoapSettings | LearnedSettings, of: Of, descriptors: Descriptors
) -> Features | None:
    """Return the features of a pool from the descriptors of a job.

    Returns
    -------
    Features or None
        None if the descriptors of the pool and of the reference dataset must be computed together.
    """
    reference = descriptors.reference
    if reference is None and pool.reference:
        new_species = {int(z) for atoms in pool.reference for z in atoms.numbers} - set(descriptors.species)
        if isinstance(settings, LearnedSettings) or of == 'environments' or new_species:
            return None
        reference = describe_structures(pool.reference, len(pool.reference), descriptors.species, settings)
    n_points = pool.n_atoms() if of == 'environments' else np.ones(len(pool), dtype=np.int64)
    frames = zip(pool.trajectory_indices, pool.frame_indices, n_points, strict=True)
    points = np.concatenate([descriptors.features[t][f * n : (f + 1) * n] for t, f, n in frames])
    reference = points[:0] if reference is None else reference
    if of == 'environments':
        of_reference = Points(reference, np.array([len(atoms) for atoms in pool.reference], dtype=np.int64))
    else:
        of_reference = _one_point_each(reference)
    return Features.of_all(
        Points(points, n_points), of_reference, _report(settings, descriptors.species, descriptors.report)
    )


def _one_point_each(points: np.ndarray) -> Points:
    return Points(points, np.ones(len(points), dtype=np.int64))


def _report(
    settings: SoapSettings | LearnedSettings, species: Sequence[int], details: Mapping[str, Any]
) -> dict[str, Any]:
    return {'kind': settings.kind, 'species': list(species), **details}
