"""The selection of frames for a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.randomness import make_rng
from aiida_mlip_autopipe.core.threads import one_thread
from aiida_mlip_autopipe.descriptors.describe import Descriptors
from aiida_mlip_autopipe.sampling.base import SAMPLERS, Picks, SamplerSettings
from aiida_mlip_autopipe.sampling.coverage.score import CoverageTarget
from aiida_mlip_autopipe.sampling.fewest import pick_fewest
from aiida_mlip_autopipe.sampling.pool.candidates import collect_candidates
from aiida_mlip_autopipe.sampling.pool.committee import report_committee
from aiida_mlip_autopipe.sampling.pool.describe import describe_ahead
from aiida_mlip_autopipe.sampling.pool.frames import FramePool
from aiida_mlip_autopipe.sampling.pool.held_out import HeldOut, hold_out, known_labels
from aiida_mlip_autopipe.sampling.pool.reference_dataset import label_sources, reference_levels
from aiida_mlip_autopipe.sampling.pool.shares import report_few_chosen, warn_of_few_chosen
from aiida_mlip_autopipe.sampling.pool.uncertainty import report_uncertainties, warn_of_unused
from aiida_mlip_autopipe.sampling.section import SamplingSettings, split_section
from aiida_mlip_autopipe.structures.rows.splits import Split, describe_sets
from aiida_mlip_autopipe.structures.trajectory import Trajectory


@dataclass(frozen=True, eq=False)
class Selection:
    """The chosen frames, in the order in which they were chosen.

    Attributes
    ----------
    trajectory_indices, frame_indices
        Index of the trajectory of each frame, and of the frame within it (k,).
    distances
        Distance of each frame to the nearest frame chosen before it (k,). NaN if the sampler does not use distances.
    gains
        The gain of each frame by the measure of the sampler (k,): the number of new environment clusters for
        ``environment``, the distance for other samplers. NaN if the sampler has no measure.
    splits
        The set of each frame, ``train``, ``valid`` or ``test`` (k,). None if no frames are held out.
    report
        Counts, warnings and the report of the sampler, as JSON.
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
    """Everything that determines a selection, whether a job makes it or not.

    Attributes
    ----------
    trajectories
        All legs of all explorations.
    settings
        The settings of the selection and of its sampler.
    random_seed
        The random seed of the campaign.
    groups
        The group of each seed, by its id. Whole groups are held out. A seed that is missing from this mapping forms
        its own group.
    kinds
        The kind of each seed, by its id.
    labels
        The label of the entry of each seed, by its id. Seeds of entries without a label are missing from this mapping.
    described
        Descriptors that jobs have computed for the trajectories, by the key of the descriptor.
    reference
        The structures of the reference dataset. The caller must read them with `read_reference_dataset` from the file
        in the settings (``reference_dataset``).
    """

    trajectories: Sequence[Trajectory]
    settings: SamplingSettings
    random_seed: int
    groups: Mapping[str, str]
    kinds: Mapping[str, str]
    labels: Mapping[str, str]
    described: Mapping[str, Descriptors]
    reference: Sequence[Atoms] = ()

    def select(self) -> Selection:
        """Select the frames."""
        names = ('random_seed', 'groups', 'kinds', 'labels', 'described', 'reference')
        return select_frames(self.trajectories, self.settings, **{name: getattr(self, name) for name in names})


@one_thread()
def select_frames(
    trajectories: Sequence[Trajectory],
    settings: SamplingSettings,
    *,
    random_seed: int,
    groups: Mapping[str, str] | None = None,
    kinds: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    described: Mapping[str, Descriptors] | None = None,
    reference: Sequence[Atoms] = (),
) -> Selection:
    """Choose frames for a dataset: collect the candidates, hold some of them out, and run the sampler on the others.

    All frames of ``always_selected_kinds`` are chosen for training. They follow the frames that the sampler chose, and
    the held-out frames come last.

    The chosen frames do not depend on the order of the trajectories. If there are fewer distinct frames than requested,
    all of them are chosen and the report contains a warning, so that a campaign does not fail at its last step. The
    parameters are the attributes of `SelectionRequest`.

    Raises
    ------
    AutopipeError
        If no candidates are left, or if the settings name a reference dataset but ``reference`` is empty.
    """
    selection, sampler_settings = split_section(settings)
    pool = collect_candidates(
        trajectories, selection, random_seed=random_seed, kinds=kinds, labels=labels, reference=reference
    )
    always = pool.has_kind(selection.always_selected_kinds)
    others = np.flatnonzero(~always)
    held_out = hold_out(pool.subset(others), selection, groups or {}, random_seed)
    left = pool.subset(others[held_out.left])
    candidates = describe_ahead(left, settings.model_dump(mode='json'), described or {})
    picks = _pick(candidates, sampler_settings, selection.coverage_target, held_out.n_to_pick, random_seed)
    drawn = [others[frames] for frames in held_out.drawn.values()]
    chosen = np.concatenate([others[held_out.left[picks.indices]], np.flatnonzero(always), *drawn])
    splits = held_out.splits(len(picks.indices) + int(always.sum()))
    return Selection(
        pool.trajectory_indices[chosen],
        pool.frame_indices[chosen],
        _extend(picks.distances, len(chosen)),
        _extend(picks.added, len(chosen)),
        splits,
        _report(pool, chosen, splits, picks, held_out, settings, report_few_chosen(left, picks.indices)),
    )


def _pick(
    pool: FramePool, settings: SamplerSettings, target: CoverageTarget | None, n_structures: int, random_seed: int
) -> Picks:
    """Run the sampler for the requested number of frames, or for the smallest number that reaches the target."""
    if not len(pool):
        return Picks(np.empty(0, dtype=np.int64), np.empty(0))
    sampler = SAMPLERS.make(settings)

    def pick(n: int) -> Picks:
        return sampler.pick(pool, n, make_rng(random_seed, 'sampling', settings.kind))

    return pick(n_structures) if target is None else pick_fewest(pool, target, pick, n_structures)


def _extend(values: np.ndarray, n: int) -> np.ndarray:
    """Return the values of the picks (k,), followed by NaN for the held-out frames (n,)."""
    return np.concatenate([values, np.full(n - len(values), np.nan)])


def _report(
    pool: FramePool,
    chosen: np.ndarray,
    splits: Sequence[Split | None],
    picks: Picks,
    held_out: HeldOut,
    settings: SamplingSettings,
    shares: dict[str, Any],
) -> dict[str, Any]:
    selected = pool.subset(chosen)
    properties: dict[str, Sequence[str | None]] = {
        'kind': selected.kinds(),
        'label': known_labels(selected),
        'composition': selected.compositions(),
    }
    return {
        'sampler': settings.kind,
        'n_trajectories': len(pool.trajectories),
        'n_frames': pool.n_frames,
        'n_candidates': len(pool),
        'n_reference': len(pool.reference),
        'reference_label_sources': label_sources(pool.reference),
        'reference_levels': reference_levels(pool.reference),
        'n_requested': settings.n_structures,
        'n_selected': len(chosen),
        'n_always_selected': int(pool.has_kind(settings.always_selected_kinds).sum()),
        'discarded': pool.discarded,
        **held_out.report,
        **(
            {'sets': describe_sets(splits, properties, selected.temperatures().tolist())} if held_out.is_divided else {}
        ),
        **picks.report,
        **shares,
        **report_committee(pool, chosen),
        **report_uncertainties(pool, chosen),
        'warnings': [
            *_warnings(picks, held_out, pool.n_frames),
            *warn_of_few_chosen(shares['few_chosen']),
            *warn_of_unused(pool, settings.model_dump(mode='json')),
        ],
    }


def _warnings(picks: Picks, held_out: HeldOut, n_frames: int) -> list[str]:
    warnings = [*held_out.warnings, *picks.report.get('warnings', [])]
    if len(picks.indices) < held_out.n_to_pick and not picks.complete:
        kept = 'distinct, new frames with finite values' + (' that are not held out' if held_out.is_divided else '')
        warnings.append(
            f'number of structures requested: {held_out.n_to_pick}; number of {kept}: '
            f'{len(picks.indices)} of {n_frames}; all of these were chosen'
        )
    return warnings
