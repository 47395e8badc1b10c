"""Cover the local environments: choose the structures that show the most kinds of them not seen yet."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.sampling.base import Picks, Sampler, SamplerSettings
from aiida_mlip_autopipe.sampling.environment_kinds import EnvironmentKinds, find_kinds
from aiida_mlip_autopipe.sampling.pool.frames import FramePool
from aiida_mlip_autopipe.structures.duplicates import DESCRIPTOR_TOLERANCE


class EnvironmentSettings(SamplerSettings):
    """Greedy coverage of the atoms' environments."""

    kind: Literal['environment'] = 'environment'
    """Covers all local environments."""
    n_kinds: int | None = Field(default=None, ge=1)
    """How many kinds of environment are told apart; ten a structure asked for by default."""
    coverage: float | None = Field(default=None, gt=0, le=1)
    """Stop when this share of the kinds is covered, also before there are ``n_structures``."""
    descriptor: SoapSettings = SoapSettings()
    """What environments are told apart by; here it is not averaged."""
    duplicate_tolerance: float = Field(default=DESCRIPTOR_TOLERANCE, ge=0)
    """Frames whose mean environments are not farther apart than this are the same structure, and one of them is
    chosen at most."""


class EnvironmentSampler(Sampler):
    """Take the structure with the most kinds of environment that none before it has, the smallest where some are equal.

    This is the greedy solution of the minimum set cover. When every kind is covered, covering starts again, so that
    all are covered twice, and so on. Kinds that structures given have are covered from the start. There is no chance
    in it.
    """

    settings_class = EnvironmentSettings
    settings: EnvironmentSettings

    def pick(self, pool: FramePool, n_structures: int, rng: np.random.Generator) -> Picks:
        """Choose until there are enough, the coverage is reached or nothing but duplicates is left."""
        settings = self.settings
        kinds = find_kinds(pool, settings.descriptor, settings.n_kinds or 10 * n_structures)
        n_kinds = len(kinds.covered)
        cover = _Cover(kinds, settings.duplicate_tolerance)
        indices: list[int] = []
        gains: list[int] = []
        while len(indices) < n_structures and cover.available.any():
            if settings.coverage is not None and cover.n_covered >= settings.coverage * n_kinds:
                break
            index, gain = cover.take_best()
            indices.append(index)
            gains.append(gain)
        report = kinds.report | {
            'coverage': cover.n_covered / n_kinds,
            'rounds': cover.n_rounds,
        }
        return Picks(
            np.array(indices, dtype=np.int64),
            np.full(len(indices), np.nan),
            report,
            gains=np.array(gains, dtype=np.float64),
            complete=settings.coverage is not None and cover.n_covered >= settings.coverage * n_kinds,
        )


class _Cover:
    """What is covered, and what each candidate would add.

    Parameters
    ----------
    kinds
        Which kinds of environment each candidate has.
    tolerance
        Candidates whose means are not farther from a chosen one than this are not available any more.
    """

    def __init__(self, kinds: EnvironmentKinds, tolerance: float):
        self.kinds = kinds
        self.tolerance = tolerance
        self.available = np.ones(len(kinds.present), dtype=bool)
        for mean in kinds.given_means:
            self._remove_alike(mean)
        self.missing = ~kinds.covered
        self.gains = kinds.present @ self.missing.astype(np.int64)
        self.ever_covered = kinds.covered.copy()
        self.n_rounds = 1

    @property
    def n_covered(self) -> int:
        """How many kinds are covered at least once."""
        return int(self.ever_covered.sum())

    def take_best(self) -> tuple[int, int]:
        """Take the candidate with the largest gain, and return it with its gain."""
        if not self.gains[self.available].any():
            self.missing[:] = True
            self.gains = self.kinds.present.sum(axis=1)
            self.n_rounds += 1
        best = np.flatnonzero(self.available & (self.gains == self.gains[self.available].max()))
        index = int(best[np.argmin(self.kinds.n_atoms[best])])
        gain = int(self.gains[index])
        new = self.kinds.present[index] & self.missing
        self.missing &= ~new
        self.ever_covered |= new
        self.gains = self.gains - self.kinds.present[:, new].sum(axis=1)
        self.available[index] = False
        self._remove_alike(self.kinds.means[index])
        return index, gain

    def _remove_alike(self, mean: np.ndarray) -> None:
        self.available &= np.linalg.norm(self.kinds.means - mean, axis=1) > self.tolerance


VARIANT = EnvironmentSampler
