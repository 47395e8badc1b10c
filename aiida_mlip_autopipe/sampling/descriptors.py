"""The descriptors of a pool's candidates and of the structures given with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from aiida_mlip_autopipe.sampling.frames import FramePool
from aiida_mlip_autopipe.sampling.soap import SoapSettings, choose_compression, describe_structures


def describe_pool(pool: FramePool, settings: SoapSettings) -> tuple[np.ndarray, np.ndarray | None, dict[str, Any]]:
    """Describe every candidate.

    Returns
    -------
    features : numpy.ndarray
        float32 (m, d), the candidates.
    given : numpy.ndarray or None
        float32 (g, d), the structures that count as chosen; None where there are none.
    report : dict
        Elements, compression and length of the descriptor.
    """
    species = pool.species
    features = describe_structures(pool.structures(), len(pool), species, settings)
    given = describe_structures(pool.given_structures(), len(pool.given), species, settings) if pool.given else None
    report = {
        'kind': settings.kind,
        'species': species,
        'compression': choose_compression(settings, len(species)),
        'n_features': features.shape[1],
    }
    return features, given, report
