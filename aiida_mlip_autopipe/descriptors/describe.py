"""Descriptors: their settings, those that a sampler requires, and those that a job has computed."""

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
"""Whether there is one descriptor vector for each structure or one for each atom."""


def _default_kind(value: Any) -> Any:
    return {'kind': 'soap', **value} if isinstance(value, dict) else value


AnyDescriptor = Annotated[
    Annotated[SoapSettings | LearnedSettings, Field(discriminator='kind')], BeforeValidator(_default_kind)
]
"""The settings of a descriptor. The default kind is SOAP."""


@dataclass(frozen=True, eq=False)
class Descriptors:
    """Descriptors of trajectories that a job computed.

    Attributes
    ----------
    features
        The descriptors of each trajectory, float32 (f, d). For structures, f is the number of frames. For environments,
        it is the number of atoms in all frames.
    species
        Atomic numbers of the elements that the descriptor supports.
    report
        Compression and length of the descriptor, as JSON.
    reference
        The descriptors of the reference dataset, float32 (g, d). None if they were not computed.
    """

    features: Sequence[np.ndarray]
    species: Sequence[int]
    report: dict[str, Any]
    reference: np.ndarray | None = None


def descriptor_key(settings: SoapSettings | LearnedSettings, of: Of = 'structures') -> str:
    """Return a key for the settings of a descriptor and what it describes."""
    content = json.dumps([of, settings.model_dump(mode='json')], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


class RequiredDescriptor(NamedTuple):
    """A descriptor that a sampler requires: its place in the settings, what it describes, and its settings."""

    place: str
    of: Of
    descriptor: dict[str, Any]


def required_descriptors(settings: Any) -> Iterator[RequiredDescriptor]:
    """Yield the descriptors in the settings of a sampler and of its inner samplers.

    Parameters
    ----------
    settings
        The settings of the sampler, as dumped to JSON.

    Yields
    ------
    RequiredDescriptor
        A descriptor with its place, such as ``.parts[0].sampler.descriptor``.
    """
    if isinstance(settings, list | tuple):
        for number, item in enumerate(settings):
            found = required_descriptors(item)
            yield from (required._replace(place=f'[{number}]{required.place}') for required in found)
    elif isinstance(settings, dict):
        for name, item in settings.items():
            if name == 'descriptor' and isinstance(item, dict) and item.get('kind') in KINDS:
                yield RequiredDescriptor(
                    '.descriptor', 'environments' if settings.get('kind') == 'environment' else 'structures', item
                )
            else:
                found = required_descriptors(item)
                yield from (required._replace(place=f'.{name}{required.place}') for required in found)
