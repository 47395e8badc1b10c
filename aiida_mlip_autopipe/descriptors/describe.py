"""One interface to the descriptors of a pool, whether they are computed here or a job has done so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BeforeValidator, Field

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.descriptors.learned import LearnedSettings
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings, choose_compression, describe_structures
from aiida_mlip_autopipe.sampling.pool.frames import FramePool

KINDS = ('soap', 'learned')
Of = Literal['structures', 'environments']
"""Whether a description has a vector for each structure, or one for each of its atoms."""


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
        For each trajectory of a pool float32 (f, d), f its frames or, of environments, the atoms of its frames.
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

    def knows_given(self, pool: FramePool) -> bool:
        """Return whether nothing is left to describe of a pool."""
        return self.given is not None or not pool.given


def descriptor_key(settings: SoapSettings | LearnedSettings, of: Of = 'structures') -> str:
    """Return what tells the descriptions by different settings, and of different things, apart."""
    content = json.dumps([of, settings.model_dump(mode='json')], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


class Asked(NamedTuple):
    """A description that a sampler asks for: its place in the settings, of what it is, and the descriptor there."""

    place: str
    of: Of
    descriptor: dict[str, Any]


def asked_descriptors(settings: Any) -> Iterator[Asked]:
    """Yield the descriptors among the settings of a sampler and of those within it.

    Parameters
    ----------
    settings
        As dumped to JSON.

    Yields
    ------
    Asked
        With a place as ``.parts[0].sampler.descriptor``.
    """
    if isinstance(settings, list | tuple):
        for number, one in enumerate(settings):
            found = asked_descriptors(one)
            yield from (asked._replace(place=f'[{number}]{asked.place}') for asked in found)
    elif isinstance(settings, dict):
        for name, one in settings.items():
            if name == 'descriptor' and isinstance(one, dict) and one.get('kind') in KINDS:
                yield Asked(
                    '.descriptor', 'environments' if settings.get('kind') == 'environment' else 'structures', one
                )
            else:
                found = asked_descriptors(one)
                yield from (asked._replace(place=f'.{name}{asked.place}') for asked in found)


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
        if can_describe or description.knows_given(pool):
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
