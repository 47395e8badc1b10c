"""One interface to the descriptors of a pool, whether they are computed here or a job has done so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field, TypeAdapter

from aiida_mlip_autopipe.errors import AutopipeError
from aiida_mlip_autopipe.sampling.frames import FramePool
from aiida_mlip_autopipe.sampling.learned import LearnedSettings
from aiida_mlip_autopipe.sampling.soap import SoapSettings, choose_compression, describe_structures

KINDS = ('soap', 'learned')


def _default_kind(value: Any) -> Any:
    return {'kind': 'soap', **value} if isinstance(value, dict) else value


AnyDescriptor = Annotated[
    Annotated[SoapSettings | LearnedSettings, Field(discriminator='kind')], BeforeValidator(_default_kind)
]
"""Settings of a descriptor of whole structures; SOAP where they do not say which."""


@dataclass(frozen=True, eq=False)
class Description:
    """What a job has found.

    Attributes
    ----------
    features
        For each trajectory of a pool float32 (f, d), f its frames.
    species
        Atomic numbers that the descriptor was built for.
    report
        Compression and length of the descriptor, JSON only.
    given
        Of the structures given, float32 (g, d); None where they were not described.
    """

    features: Sequence[np.ndarray]
    species: Sequence[int]
    report: dict[str, Any]
    given: np.ndarray | None = None


def descriptor_key(settings: SoapSettings | LearnedSettings) -> str:
    """Return what tells the descriptions of different settings apart."""
    content = json.dumps(settings.model_dump(mode='json'), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def structure_descriptors(settings: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the descriptors of whole structures among the settings of a sampler and of those within it.

    Parameters
    ----------
    settings
        As dumped to JSON.

    Yields
    ------
    tuple
        The place, as ``.parts[0].sampler.descriptor``, and the settings there.
    """
    if isinstance(settings, list | tuple):
        for number, one in enumerate(settings):
            yield from ((f'[{number}]{place}', found) for place, found in structure_descriptors(one))
    elif isinstance(settings, dict):
        for name, one in settings.items():
            is_known = isinstance(one, dict) and one.get('kind') in KINDS
            # Environments are described atom by atom, which is too much to keep.
            if name == 'descriptor' and is_known and settings.get('kind') != 'environment':
                yield '.descriptor', one
            else:
                yield from ((f'.{name}{place}', found) for place, found in structure_descriptors(one))


def describe_pool(
    pool: FramePool, settings: SoapSettings | LearnedSettings
) -> tuple[np.ndarray, np.ndarray | None, dict[str, Any]]:
    """Describe every candidate.

    Returns
    -------
    features : numpy.ndarray
        float32 (m, d), the candidates.
    given : numpy.ndarray or None
        float32 (g, d), the structures that count as chosen; None where there are none.
    report : dict
        Elements, compression and length of the descriptor.

    Raises
    ------
    AutopipeError
        If only a job can compute the descriptor, and none has for all of the structures.
    """
    description = pool.described.get(descriptor_key(settings))
    if description is not None:
        others = {int(z) for atoms in pool.given for z in atoms.numbers}
        can_describe = settings.kind == 'soap' and others <= set(description.species)
        if can_describe or description.given is not None or not pool.given:
            return _take(pool, settings, description)
    if isinstance(settings, LearnedSettings):
        raise AutopipeError(
            'learned descriptors are computed by a job of a campaign, and none has for all of these structures; '
            'take the descriptor soap'
        )
    species = pool.species
    features = describe_structures(pool.structures(), len(pool), species, settings)
    given = describe_structures(pool.given_structures(), pool.n_given, species, settings) if pool.n_given else None
    report = {
        'kind': settings.kind,
        'species': species,
        'compression': choose_compression(settings, len(species)),
        'n_features': features.shape[1],
    }
    return features, given, report


def describe_once(pool: FramePool, settings: Any) -> FramePool:
    """Return the pool with all descriptors of whole structures that a sampler and those within it ask for.

    Parameters
    ----------
    pool
        The candidates.
    settings
        Of the sampler, as dumped to JSON.
    """
    adapter: TypeAdapter[SoapSettings | LearnedSettings] = TypeAdapter(AnyDescriptor)
    for _, found in structure_descriptors(settings):
        descriptor = adapter.validate_python(found)
        features, given, report = describe_pool(pool, descriptor)
        spread = [np.zeros((len(one), features.shape[1]), dtype=np.float32) for one in pool.trajectories]
        for index in np.unique(pool.trajectory_indices):
            rows = pool.trajectory_indices == index
            spread[index][pool.frame_indices[rows]] = features[rows]
        about = {name: value for name, value in report.items() if name not in ('kind', 'species')}
        description = Description(spread, report['species'], about, given)
        pool = replace(pool, described={**pool.described, descriptor_key(descriptor): description})
    return pool


def _take(
    pool: FramePool, settings: SoapSettings | LearnedSettings, description: Description
) -> tuple[np.ndarray, np.ndarray | None, dict[str, Any]]:
    features = _gather(description, pool.trajectory_indices, pool.frame_indices)
    parts = []
    if description.given is not None:
        parts.append(description.given)
    elif pool.given:
        assert isinstance(settings, SoapSettings)
        parts.append(describe_structures(pool.given, len(pool.given), description.species, settings))
    if len(pool.counted):
        parts.append(_gather(description, pool.counted[:, 0], pool.counted[:, 1]))
    report = {'kind': settings.kind, 'species': list(description.species), **description.report}
    return features, np.concatenate(parts) if parts else None, report


def _gather(description: Description, trajectories: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Return the features of some frames; no more is copied than these."""
    length = description.features[trajectories[0]].shape[1]
    gathered = np.empty((len(frames), length), dtype=np.float32)
    for index in np.unique(trajectories):
        rows = trajectories == index
        gathered[rows] = description.features[index][frames[rows]]
    return gathered
