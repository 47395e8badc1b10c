"""The one function of this room that the rest of the package calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aiida_mlip_autopipe.errors import AutopipeError
from aiida_mlip_autopipe.randomness import make_rng
from aiida_mlip_autopipe.sampling.base import SAMPLERS, SamplerSettings
from aiida_mlip_autopipe.sampling.committee import report_committee
from aiida_mlip_autopipe.sampling.frames import FramePool, collect_frames
from aiida_mlip_autopipe.sampling.given import label_sources, read_given
from aiida_mlip_autopipe.sampling.held_out import hold_out
from aiida_mlip_autopipe.splits import Split
from aiida_mlip_autopipe.trajectories import Trajectory


@dataclass(frozen=True, eq=False)
class Selection:
    """The frames chosen, in the order of choice.

    Attributes
    ----------
    trajectory_indices, frame_indices
        Where each frame stands among the trajectories that were given (k,).
    distances
        Distance of each frame to those chosen before it (k,); NaN where that has no meaning.
    splits
        What each frame is for, ``train``, ``valid`` or ``test``; None where nothing is held out (k).
    report
        Counts, warnings and what the sampler has to say, JSON only.
    """

    trajectory_indices: np.ndarray
    frame_indices: np.ndarray
    distances: np.ndarray
    splits: tuple[Split | None, ...]
    report: dict[str, Any]

    def __len__(self) -> int:
        return len(self.frame_indices)


def select_frames(
    trajectories: Sequence[Trajectory],
    settings: SamplerSettings,
    *,
    random_seed: int,
    lineages: Mapping[str, str] | None = None,
) -> Selection:
    """Choose frames for a dataset.

    Which frames are chosen does not depend on the order of the trajectories. See `collect_frames` for what is passed
    over, beside frames beyond the limits of the settings. With fewer distinct frames than asked for all of them are
    taken and the report has a warning: a campaign does not fail at its last step.

    Parameters
    ----------
    trajectories
        All legs of all explorations.
    settings
        Of one of the samplers.
    random_seed
        The campaign's number.
    lineages
        The lineage of each seed, by its id, for what is held out; a seed without one is a lineage of its own.

    Raises
    ------
    AutopipeError
        If there is no frame to choose from, or the file of given structures is not the one the settings name.
    """
    given = read_given(settings.given, settings.given_sha256) if settings.given else []
    pool = _leave_out_extremes(collect_frames(trajectories, given), settings)
    n_frames = sum(len(trajectory) for trajectory in trajectories)
    if not len(pool):
        reasons = ', '.join(f'{n} {reason.replace("_", " ")}' for reason, n in pool.passed_over.items() if n)
        raise AutopipeError(
            f'there is no frame to choose from: {n_frames} frames in {len(trajectories)} trajectories'
            + (f', of which {reasons}' if reasons else '')
        )
    held_out = hold_out(pool, settings, lineages or {}, random_seed)
    n_wanted = settings.n_structures - held_out.n_wanted
    sampler = SAMPLERS.make(settings.model_copy(update={'n_structures': n_wanted}))
    picks = sampler.pick(pool.subset(held_out.left), make_rng(random_seed, 'sampling', settings.kind))
    warnings = [*held_out.warnings, *picks.report.pop('warnings', [])]
    if len(picks.indices) < n_wanted and not picks.complete:
        which = 'finite, distinct, new and not held out' if held_out.drawn else 'finite, distinct and new'
        warnings.append(
            f'{n_wanted} structures were asked for, but only {len(picks.indices)} of {n_frames} frames are {which}: '
            'all of these were taken'
        )
    indices = np.concatenate([held_out.left[picks.indices], *held_out.drawn.values()])
    n_drawn = len(indices) - len(picks.indices)
    report = {
        'sampler': settings.kind,
        'n_trajectories': len(trajectories),
        'n_frames': n_frames,
        'n_candidates': len(pool),
        'n_given': len(given),
        'given_label_sources': label_sources(given),
        'n_requested': settings.n_structures,
        'n_selected': len(indices),
        'passed_over': pool.passed_over,
        'warnings': warnings,
        **held_out.report,
        **picks.report,
        **report_committee(pool, indices),
    }
    splits: list[Split | None] = ['train' if held_out.drawn else None] * len(picks.indices)
    for split, drawn in held_out.drawn.items():
        splits += [split] * len(drawn)
    return Selection(
        pool.trajectory_indices[indices],
        pool.frame_indices[indices],
        np.concatenate([picks.distances, np.full(n_drawn, np.nan)]),
        tuple(splits),
        report,
    )


def _leave_out_extremes(pool: FramePool, settings: SamplerSettings) -> FramePool:
    if settings.max_force_eV_A is not None and len(pool):
        pool = pool.leave_out(pool.largest_forces() > settings.max_force_eV_A, 'force_too_large')
    if settings.max_excess_energy_eV is not None and len(pool):
        pool = pool.leave_out(pool.excess_energies() > settings.max_excess_energy_eV, 'energy_too_high')
    return pool
