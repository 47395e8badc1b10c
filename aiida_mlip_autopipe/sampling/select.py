"""The one function of this room that the rest of the package calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.randomness import make_rng
from aiida_mlip_autopipe.descriptors.describe import Description
from aiida_mlip_autopipe.sampling.base import SAMPLERS, Picks
from aiida_mlip_autopipe.sampling.fewest import pick_fewest
from aiida_mlip_autopipe.sampling.pool.committee import report_committee
from aiida_mlip_autopipe.sampling.pool.describe import describe_ahead
from aiida_mlip_autopipe.sampling.pool.frames import FramePool, collect_frames
from aiida_mlip_autopipe.sampling.pool.given import label_sources
from aiida_mlip_autopipe.sampling.pool.held_out import HeldOut, hold_out
from aiida_mlip_autopipe.sampling.section import SamplingSettings, split_section
from aiida_mlip_autopipe.sampling.selection_settings import SelectionSettings
from aiida_mlip_autopipe.structures.splits import Split
from aiida_mlip_autopipe.structures.trajectory import Trajectory


@dataclass(frozen=True, eq=False)
class Selection:
    """The frames chosen, in the order of choice.

    Attributes
    ----------
    trajectory_indices, frame_indices
        Where each frame stands among the trajectories that were given (k,).
    distances
        Distance of each frame to those chosen before it (k,); NaN where that has no meaning.
    gains
        What each frame added to those chosen before it, in the sampler's own measure: new kinds of environment for
        ``environment``, the distance for others; NaN where that has no meaning (k,).
    splits
        What each frame is for, ``train``, ``valid`` or ``test``; None where nothing is held out (k).
    report
        Counts, warnings and what the sampler has to say, JSON only.
    """

    trajectory_indices: np.ndarray
    frame_indices: np.ndarray
    distances: np.ndarray
    gains: np.ndarray
    splits: tuple[Split | None, ...]
    report: dict[str, Any]

    def __len__(self) -> int:
        return len(self.frame_indices)


@dataclass(frozen=True, eq=False)
class SelectionRequest:
    """All that decides a selection, as `select_frames` takes it: it is made in place or by a job.

    Attributes
    ----------
    trajectories, settings, random_seed, lineages, kinds, described, given
        See `select_frames`.
    """

    trajectories: Sequence[Trajectory]
    settings: SamplingSettings
    random_seed: int
    lineages: Mapping[str, str]
    kinds: Mapping[str, str]
    described: Mapping[str, Description]
    given: Sequence[Atoms] = ()

    def select(self) -> Selection:
        """Make the selection."""
        fields = {name: getattr(self, name) for name in ('random_seed', 'lineages', 'kinds', 'described', 'given')}
        return select_frames(self.trajectories, self.settings, **fields)


def select_frames(
    trajectories: Sequence[Trajectory],
    settings: SamplingSettings,
    *,
    random_seed: int,
    lineages: Mapping[str, str] | None = None,
    kinds: Mapping[str, str] | None = None,
    described: Mapping[str, Description] | None = None,
    given: Sequence[Atoms] = (),
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
        Of the selection and of its sampler.
    random_seed
        The campaign's number.
    lineages
        The lineage of each seed, by its id, for what is held out; a seed without one is a lineage of its own.
    kinds
        What kind of structure each seed is, by its id, for strata of kinds.
    described
        Descriptors of the trajectories that jobs have computed, by their keys.
    given
        The structures that the dataset extends. No file is opened here: what the settings name under ``given`` is for
        the caller to read (`read_given`).

    Raises
    ------
    AutopipeError
        If there is no frame to choose from, or the settings name given structures and there are none.
    """
    selection, sampler = split_section(settings)
    pool = collect_candidates(trajectories, selection, random_seed=random_seed, kinds=kinds, given=given)
    held_out = hold_out(pool, selection, lineages or {}, random_seed)
    n_wanted = selection.n_structures - held_out.n_wanted
    left = describe_ahead(pool.subset(held_out.left), settings.model_dump(mode='json'), described or {})
    picks = _pick(left, settings, n_wanted, random_seed)
    indices = np.concatenate([held_out.left[picks.indices], *held_out.drawn.values()])
    none_for_drawn = np.full(len(indices) - len(picks.indices), np.nan)
    report = {
        'sampler': sampler.kind,
        'n_trajectories': len(trajectories),
        'n_frames': sum(map(len, trajectories)),
        'n_candidates': len(pool),
        'n_given': len(pool.given),
        'given_label_sources': label_sources(pool.given),
        'n_requested': selection.n_structures,
        'n_selected': len(indices),
        'passed_over': pool.passed_over,
        **held_out.report,
        **picks.report,
        **report_committee(pool, indices),
        'warnings': _warnings(picks, held_out, n_wanted, sum(map(len, trajectories))),
    }
    splits: list[Split | None] = ['train' if held_out.drawn else None] * len(picks.indices)
    for split, drawn in held_out.drawn.items():
        splits += [split] * len(drawn)
    return Selection(
        pool.trajectory_indices[indices],
        pool.frame_indices[indices],
        np.concatenate([picks.distances, none_for_drawn]),
        np.concatenate([picks.distances if picks.gains is None else picks.gains, none_for_drawn]),
        tuple(splits),
        report,
    )


def collect_candidates(
    trajectories: Sequence[Trajectory],
    settings: SelectionSettings,
    *,
    random_seed: int,
    kinds: Mapping[str, str] | None = None,
    given: Sequence[Atoms] = (),
) -> FramePool:
    """Gather the frames that a selection with these settings may choose from.

    Raises
    ------
    AutopipeError
        If there is none, or the settings name given structures and there are none.
    """
    if settings.given is not None and not given:
        raise AutopipeError(f'the settings name given structures ({settings.given}), but none were handed over')
    pool = replace(collect_frames(trajectories, given), kind_of_seed=kinds or {})
    pool = _thin_crashes(_leave_out_extremes(pool, settings), settings, make_rng(random_seed, 'sampling', 'crashes'))
    if not len(pool):
        reasons = ', '.join(f'{n} {reason.replace("_", " ")}' for reason, n in pool.passed_over.items() if n)
        raise AutopipeError(
            f'there is no frame to choose from: {sum(map(len, trajectories))} frames in {len(trajectories)} '
            'trajectories' + (f', of which {reasons}' if reasons else '')
        )
    return pool


def _pick(pool: FramePool, settings: SamplingSettings, n_wanted: int, random_seed: int) -> Picks:
    """Let the sampler choose so many frames, or as few as reach the target of coverage."""
    target, sampler = settings.coverage_target, SAMPLERS.make(split_section(settings)[1])

    def pick(n_structures: int) -> Picks:
        return sampler.pick(pool, n_structures, make_rng(random_seed, 'sampling', settings.kind))

    return pick(n_wanted) if target is None else pick_fewest(pool, target, pick, n_wanted)


def _warnings(picks: Picks, held_out: HeldOut, n_wanted: int, n_frames: int) -> list[str]:
    warnings = [*held_out.warnings, *picks.report.get('warnings', [])]
    if len(picks.indices) < n_wanted and not picks.complete:
        which = 'finite, distinct, new and not held out' if held_out.drawn else 'finite, distinct and new'
        warnings.append(
            f'{n_wanted} structures were asked for, but only {len(picks.indices)} of {n_frames} frames are {which}: '
            'all of these were taken'
        )
    return warnings


def _leave_out_extremes(pool: FramePool, settings: SelectionSettings) -> FramePool:
    if settings.max_force_eV_A is not None and len(pool):
        pool = pool.leave_out(pool.largest_forces() > settings.max_force_eV_A, 'force_too_large')
    if settings.max_excess_energy_eV is not None and len(pool):
        pool = pool.leave_out(pool.excess_energies() > settings.max_excess_energy_eV, 'energy_too_high')
    return pool


def _thin_crashes(pool: FramePool, settings: SelectionSettings, rng: np.random.Generator) -> FramePool:
    """Keep as many frames on the way to a crash as may be chosen, so that no sampler can take more."""
    near = np.flatnonzero(pool.extra('time_to_crash_fs') <= settings.crash_window_fs)
    n_allowed = int(settings.crash_share * settings.n_structures)
    if len(near) <= n_allowed:
        return pool
    unwanted = np.zeros(len(pool), dtype=bool)
    unwanted[rng.permutation(near)[n_allowed:]] = True
    return pool.leave_out(unwanted, 'near_crash')
