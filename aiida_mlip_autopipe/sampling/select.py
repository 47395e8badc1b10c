"""The one function of this room that the rest of the package calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aiida_mlip_autopipe.errors import AutopipeError
from aiida_mlip_autopipe.randomness import make_rng
from aiida_mlip_autopipe.sampling.base import SAMPLERS, SamplerSettings
from aiida_mlip_autopipe.sampling.frames import FramePool, collect_frames
from aiida_mlip_autopipe.sampling.given import read_given
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
    report
        Counts, warnings and what the sampler has to say, JSON only.
    """

    trajectory_indices: np.ndarray
    frame_indices: np.ndarray
    distances: np.ndarray
    report: dict[str, Any]

    def __len__(self) -> int:
        return len(self.frame_indices)


def select_frames(trajectories: Sequence[Trajectory], settings: SamplerSettings, *, random_seed: int) -> Selection:
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
    picks = SAMPLERS.make(settings).pick(pool, make_rng(random_seed, 'sampling', settings.kind))
    warnings = list(picks.report.pop('warnings', []))
    if len(picks.indices) < settings.n_structures and not picks.complete:
        warnings.append(
            f'{settings.n_structures} structures were asked for, but only {len(picks.indices)} of {n_frames} frames '
            'are finite, distinct and new: all of these were taken'
        )
    report = {
        'sampler': settings.kind,
        'n_trajectories': len(trajectories),
        'n_frames': n_frames,
        'n_candidates': len(pool),
        'n_given': len(given),
        'n_requested': settings.n_structures,
        'n_selected': len(picks.indices),
        'passed_over': pool.passed_over,
        'warnings': warnings,
        **picks.report,
    }
    return Selection(pool.trajectory_indices[picks.indices], pool.frame_indices[picks.indices], picks.distances, report)


def _leave_out_extremes(pool: FramePool, settings: SamplerSettings) -> FramePool:
    if settings.max_force_eV_A is not None and len(pool):
        pool = pool.leave_out(pool.largest_forces() > settings.max_force_eV_A, 'force_too_large')
    if settings.max_excess_energy_eV is not None and len(pool):
        pool = pool.leave_out(pool.excess_energies() > settings.max_excess_energy_eV, 'energy_too_high')
    return pool
