"""Every stratum of a property has its share, and so have structures near equilibrium."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from aiida_mlip_autopipe.sampling.base import Picks, Sampler, SamplerSettings
from aiida_mlip_autopipe.sampling.nested import InnerSampler, Rounds
from aiida_mlip_autopipe.sampling.pool.frames import FramePool
from aiida_mlip_autopipe.sampling.samplers.fps import FpsSettings


class StratifiedSettings(SamplerSettings):
    """Equal shares for the strata of a property."""

    kind: Literal['stratified'] = 'stratified'
    """Gives every stratum the same share."""
    by: Literal['temperature', 'energy', 'composition', 'kind', 'seed'] = 'temperature'
    """What tells the strata apart. ``energy`` is that per atom above the lowest of the same composition, ``kind`` the
    generator that made the seed."""
    n_strata: int = Field(default=5, ge=1)
    """Into how many strata of equal width the range of temperature or energy is cut."""
    near_equilibrium_share: float = Field(default=0.2, ge=0, le=1)
    """Share that is chosen first, among the quarter of frames whose energy per atom is the least above the lowest of
    the same composition: variety alone starves these."""
    within: InnerSampler = FpsSettings()
    """The sampler within a stratum, with its own settings only."""


class StratifiedSampler(Sampler):
    """Choose near equilibrium, then stratum by stratum; what is chosen counts as chosen for all that follow."""

    settings_class = StratifiedSettings
    settings: StratifiedSettings

    def pick(self, pool: FramePool, n_structures: int, rng: np.random.Generator) -> Picks:
        """Choose equal shares; what a stratum cannot fill goes to the others."""
        settings = self.settings
        rounds = Rounds(pool, rng)
        excess = pool.excess_energies()
        near = np.flatnonzero(excess <= np.quantile(excess, 0.25))
        n_near = rounds.pick(settings.within, round(settings.near_equilibrium_share * n_structures), near)
        strata = self._strata(pool, excess)
        n_chosen = dict.fromkeys(strata, 0)
        # The smallest come first: what they cannot fill is shared by those after them.
        order = sorted(strata, key=lambda name: len(np.setdiff1d(strata[name], rounds.indices)))
        for place, name in enumerate(order):
            n_left = n_structures - len(rounds.indices)
            n_chosen[name] = rounds.pick(settings.within, n_left // (len(order) - place), strata[name])
        n_left = n_structures - len(rounds.indices)
        n_beyond = rounds.pick(settings.within, n_left, np.arange(len(pool)))
        return rounds.finish(
            {
                'n_near_equilibrium': n_near,
                'strata': [
                    {'stratum': name, 'n_candidates': len(strata[name]), 'n_selected': n_chosen[name]}
                    for name in strata
                ],
                'n_beyond_shares': n_beyond,
            }
        )

    def _strata(self, pool: FramePool, excess: np.ndarray) -> dict[str, np.ndarray]:
        """Return the candidates of each stratum that has any, by its name."""
        by = self.settings.by
        if by == 'temperature':
            return _cut(pool.temperatures(), self.settings.n_strata, 'K')
        if by == 'energy':
            return _cut(excess, self.settings.n_strata, 'eV/atom')
        names = np.array({'composition': pool.compositions, 'kind': pool.kinds, 'seed': pool.seed_ids}[by]())
        return {str(name): np.flatnonzero(names == name) for name in np.unique(names)}


def _cut(values: np.ndarray, n_strata: int, unit: str) -> dict[str, np.ndarray]:
    edges = np.linspace(values.min(), values.max(), n_strata + 1)
    places = np.clip(np.searchsorted(edges, values, side='right') - 1, 0, n_strata - 1)
    return {
        f'{edges[place]:.4g} to {edges[place + 1]:.4g} {unit}': np.flatnonzero(places == place)
        for place in np.unique(places)
    }


VARIANT = StratifiedSampler
