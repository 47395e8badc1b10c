"""Random numbers: all those of a campaign are derived from its ``random_seed`` and stable labels."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


def derive_random_seed(random_seed: int, *labels: str) -> int:
    """Derive the random seed of a generator.

    Parameters
    ----------
    random_seed
        The random seed of the campaign.
    labels
        The purpose of the generator, such as ``('exploration', seed_id)``. A label must not depend on the number of
        seeds or entries, so that a new seed or entry does not change the random numbers of the others.

    Returns
    -------
    int
        A non-negative integer below 2**63, which fits into a database column.
    """
    text = '\x1f'.join([str(random_seed), *labels])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], 'big') >> 1


def make_rng(random_seed: int, *labels: str) -> np.random.Generator:
    """Return the random number generator for these labels; see `derive_random_seed`."""
    return np.random.Generator(np.random.PCG64(derive_random_seed(random_seed, *labels)))


@contextmanager
def global_random_state_restored() -> Iterator[None]:
    """Restore the global random number generators of Python and NumPy at the end of the block.

    Some packages reseed them when they are imported or called.
    """
    state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 (the state that other packages change)
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)  # noqa: NPY002
