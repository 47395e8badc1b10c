"""Stratified selection: equal fractions for all strata, and a fraction for structures near equilibrium."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from aiida_mlip_autopipe.sampling.base import Picks, Sampler, SamplerSettings
from aiida_mlip_autopipe.sampling.nested import InnerSampler, Rounds
from aiida_mlip_autopipe.sampling.pool.frames import FramePool
from aiida_mlip_autopipe.sampling.samplers.fps import FpsSettings


class StratifiedSettings(SamplerSettings):
    """Equal fractions of the dataset for all strata of a property."""

    kind: Literal['stratified'] = 'stratified'
    """Chooses the same number of frames from each stratum."""
    by: Literal['temperature', 'energy', 'composition', 'kind', 'label', 'seed'] = 'temperature'
    """The property that defines the strata. ``energy`` is the energy per atom above the lowest one of the same
    composition, ``kind`` is the kind of the seed, and ``label`` is the label of its entry in ``generation``."""
    n_strata: int = Field(default=5, ge=1)
    """Number of strata of equal width, for ``temperature`` and ``energy``."""
    near_equilibrium_fraction: float = Field(default=0.2, ge=0, le=1)
    """Fraction of ``n_structures`` that is chosen first, from the quarter of the frames with the smallest excess
    energy per atom. The excess is relative to the lowest energy of the same composition. A sampler that maximises
    diversity would choose few of these."""
    within: InnerSampler = FpsSettings()
    """The settings of the sampler within a stratum, without those of the selection."""


class StratifiedSampler(Sampler):
    """Choose frames near equilibrium, and then from each stratum. Chosen frames count as chosen for the next strata."""

    settings_class = StratifiedSettings
    settings: StratifiedSettings

    def pick(self, pool: FramePool, n_structures: int, rng: np.random.Generator) -> Picks:
        """Choose equal numbers of frames from all strata. If one has too few, more are chosen from the others."""
        settings = self.settings
        rounds = Rounds(pool, rng)
        excess = pool.excess_energies()
        near = np.flatnonzero(excess <= np.quantile(excess, 0.25))
        n_near = rounds.pick(settings.within, round(settings.near_equilibrium_fraction * n_structures), near)
        strata = self._strata(pool, excess)
        n_chosen = dict.fromkeys(strata, 0)
        # Start with the smallest strata, so that larger ones can provide the frames that the smaller ones lack.
        order = sorted(strata, key=lambda name: len(np.setdiff1d(strata[name], rounds.indices)))
        for number, name in enumerate(order):
            n_remaining = n_structures - len(rounds.indices)
            n_chosen[name] = rounds.pick(settings.within, n_remaining // (len(order) - number), strata[name])
        n_remaining = n_structures - len(rounds.indices)
        n_beyond = rounds.pick(settings.within, n_remaining, np.arange(len(pool)))
        return rounds.finish(
            {
                'n_near_equilibrium': n_near,
                'strata': [
                    {'stratum': name, 'n_candidates': len(strata[name]), 'n_selected': n_chosen[name]}
                    for name in strata
                ],
                'n_beyond_fractions': n_beyond,
            }
        )

    def _strata(self, pool: FramePool, excess: np.ndarray) -> dict[str, np.ndarray]:
        """Return the indices of the candidates in each non-empty stratum, by the name of the stratum."""
        by = self.settings.by
        if by == 'temperature':
            return _equal_strata(pool.temperatures(), self.settings.n_strata, 'K')
        if by == 'energy':
            return _equal_strata(excess, self.settings.n_strata, 'eV/atom')
        names_by = {
            'composition': pool.compositions,
            'kind': pool.kinds,
            'label': pool.labels,
            'seed': pool.seed_ids,
        }
        names = np.array(names_by[by]())
        return {str(name): np.flatnonzero(names == name) for name in np.unique(names)}


def _equal_strata(values: np.ndarray, n_strata: int, unit: str) -> dict[str, np.ndarray]:
    edges = np.linspace(values.min(), values.max(), n_strata + 1)
    bins = np.clip(np.searchsorted(edges, values, side='right') - 1, 0, n_strata - 1)
    return {
        f'{edges[number]:.4g} to {edges[number + 1]:.4g} {unit}': np.flatnonzero(bins == number)
        for number in np.unique(bins)
    }


VARIANT = StratifiedSampler
