"""Every random number of a campaign comes from its ``random_seed`` and a stable label."""

from __future__ import annotations

import hashlib

import numpy as np


def derive_random_seed(random_seed: int, *labels: str) -> int:
    """Derive the number that seeds one generator.

    Parameters
    ----------
    random_seed
        The campaign's number.
    labels
        What the generator is for, as ``('exploration', seed_id)``. A label must not depend on how many seeds or
        entries a campaign has, so that adding one changes no other.

    Returns
    -------
    int
        A non-negative integer below 2**63 (it fits a database column and a JSON number of any reader).
    """
    text = '\x1f'.join([str(random_seed), *labels])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], 'big') >> 1


def make_rng(random_seed: int, *labels: str) -> np.random.Generator:
    """Return the generator for a label; see `derive_random_seed`."""
    return np.random.Generator(np.random.PCG64(derive_random_seed(random_seed, *labels)))
