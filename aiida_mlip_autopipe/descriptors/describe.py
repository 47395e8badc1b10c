"""The descriptors that exist, those that a sampler asks for, and those that a job has computed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BeforeValidator, Field

from aiida_mlip_autopipe.descriptors.learned import LearnedSettings
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings

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
    """Descriptors of trajectories, as a job has computed them.

    Attributes
    ----------
    features
        For each trajectory float32 (f, d), where f counts its frames or, for environments, the atoms of its frames.
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
