"""The candidates of a selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.randomness import make_rng
from aiida_mlip_autopipe.sampling.pool.frames import FramePool, collect_frames
from aiida_mlip_autopipe.sampling.selection_settings import SelectionSettings
from aiida_mlip_autopipe.structures.trajectory import Trajectory


def collect_candidates(
    trajectories: Sequence[Trajectory],
    settings: SelectionSettings,
    *,
    random_seed: int,
    kinds: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    reference: Sequence[Atoms] = (),
) -> FramePool:
    """Collect the candidates of a selection.

    Raises
    ------
    AutopipeError
        If no candidates are left, or if the settings require a reference dataset but ``reference`` is empty.
    """
    if settings.reference_dataset is not None and not reference:
        raise AutopipeError(
            Code.VALUE_MISSING,
            f'the reference dataset {settings.reference_dataset} is set, but its structures were not passed',
        )
    pool = collect_frames(trajectories, reference, kinds, labels)
    pool = _limit_crashes(_discard_extremes(pool, settings), settings, make_rng(random_seed, 'sampling', 'crashes'))
    if not len(pool):
        reasons = ', '.join(f'{reason.replace("_", " ")} ({n})' for reason, n in pool.discarded.items() if n)
        raise AutopipeError(
            Code.CANDIDATES_MISSING,
            f'no frames are left to choose from; trajectories: {len(trajectories)}, frames: {pool.n_frames}'
            + (f'; discarded: {reasons}' if reasons else ''),
        )
    return pool


def _discard_extremes(pool: FramePool, settings: SelectionSettings) -> FramePool:
    if settings.max_force_eV_per_A is not None and len(pool):
        exempt = pool.has_kind(settings.always_selected_kinds)
        pool = pool.discard(~exempt & (pool.largest_forces() > settings.max_force_eV_per_A), 'force_too_large')
    if settings.max_excess_energy_eV is not None and len(pool):
        exempt = pool.has_kind(settings.always_selected_kinds)
        pool = pool.discard(~exempt & (pool.excess_energies() > settings.max_excess_energy_eV), 'energy_too_high')
    return pool


def _limit_crashes(pool: FramePool, settings: SelectionSettings, rng: np.random.Generator) -> FramePool:
    """Discard frames shortly before a crash at random, until only as many are left as a sampler may choose."""
    near = np.flatnonzero(pool.extra('time_to_crash_fs') <= settings.crash_window_fs)
    n_allowed = int(settings.crash_fraction * settings.n_structures)
    if len(near) <= n_allowed:
        return pool
    unwanted = np.zeros(len(pool), dtype=bool)
    unwanted[rng.permutation(near)[n_allowed:]] = True
    return pool.discard(unwanted, 'near_crash')
