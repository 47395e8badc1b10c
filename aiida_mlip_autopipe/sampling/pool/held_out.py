"""Validation and test sets from held-out groups, which the sampler does not bias."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.randomness import make_rng
from aiida_mlip_autopipe.sampling.pool.frames import FramePool
from aiida_mlip_autopipe.sampling.selection_settings import SelectionSettings
from aiida_mlip_autopipe.structures.duplicates import LabelledStructures, force_quantiles, join_alike
from aiida_mlip_autopipe.structures.splits import SPLITS, Split, assign_groups


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The division of the candidates into those for the sampler and the held-out frames.

    Attributes
    ----------
    left
        Indices in the pool of the candidates for the sampler.
    drawn
        Indices in the pool of the frames that were drawn for each held-out set. Empty if no set is held out.
    n_to_pick
        Number of frames for the sampler to choose.
    report, warnings
        The number of groups in each set, the number of groups that were joined because they have a structure in common,
        and a warning for each set that is too small.
    """

    left: np.ndarray
    drawn: dict[Split, np.ndarray]
    n_to_pick: int
    report: dict[str, Any]
    warnings: list[str]

    def splits(self, n_picked: int) -> tuple[Split | None, ...]:
        """Return the set of each frame, starting with the frames that the sampler chose; None if no set is held out."""
        drawn = [split for split, frames in self.drawn.items() for _ in frames]
        return ('train' if self.drawn else None,) * n_picked + tuple(drawn)


def hold_out(pool: FramePool, settings: SelectionSettings, groups: Mapping[str, str], random_seed: int) -> HeldOut:
    """Assign the groups of the candidates to sets, and draw the frames for validation and testing at random.

    Groups that have a structure in common are joined, even if it is rotated or repeated, or its atoms are in another
    order. If kinds are held out, all groups with a frame of these kinds are held out, and the test set is drawn from
    the frames of these kinds.

    Raises
    ------
    AutopipeError
        If all frames belong to held-out kinds, or to groups that contain a frame of these kinds.
    """
    fractions: dict[Split, float] = {'valid': settings.valid_fraction, 'test': settings.test_fraction}
    fractions = {split: fraction for split, fraction in fractions.items() if fraction > 0}
    if not fractions or not len(pool):
        return HeldOut(np.arange(len(pool)), {}, settings.n_structures, {}, [])
    groups_of_frames = [groups.get(seed_id, seed_id) for seed_id in pool.seed_ids()]
    names = join_alike(_fingerprints(pool), groups_of_frames)
    is_held_out = pool.has_kind(settings.held_out_kinds)
    held_out = {name for name, is_out in zip(names, is_held_out, strict=True) if is_out}
    sizes = Counter(name for name in names if name not in held_out)
    if not sizes:
        kinds = ', '.join(sorted(set(pool.kinds())))
        raise AutopipeError(
            Code.TRAINING_SET_EMPTY,
            f'held_out_kinds leaves no frame for training; the kinds of the candidates are {kinds}',
        )
    test_fraction = 0.0 if settings.held_out_kinds else settings.test_fraction
    assigned = assign_groups(
        sizes, valid_fraction=settings.valid_fraction, test_fraction=test_fraction, random_seed=random_seed
    ) | dict.fromkeys(held_out, 'test')
    splits = np.array([assigned[name] for name in names])
    n_requested = {split: round(fraction * settings.n_structures) for split, fraction in fractions.items()}
    drawn, warnings = {}, []
    for split, n in n_requested.items():
        by_kind = split == 'test' and settings.held_out_kinds
        members = np.flatnonzero(is_held_out if by_kind else splits == split)
        drawn[split] = make_rng(random_seed, 'sampling', split).permutation(members)[:n]
        if len(drawn[split]) < n:
            warnings.append(
                f'the {split} set has only {len(members)} of {n} requested structures, because the '
                f'{"kinds" if by_kind else "groups"} held out for it contain no more frames'
            )
    return HeldOut(
        left=np.flatnonzero(splits == 'train'),
        drawn=drawn,
        n_to_pick=settings.n_structures - sum(n_requested.values()),
        report={
            'n_groups_joined': len(set(groups_of_frames)) - len(set(names)),
            'n_groups': {split: sum(found == split for found in assigned.values()) for split in SPLITS},
            'n_held_out': {split: len(found) for split, found in drawn.items()},
        },
        warnings=warnings,
    )


def _fingerprints(pool: FramePool) -> LabelledStructures:
    frames = list(zip(pool.trajectory_indices, pool.frame_indices, strict=True))
    cells = np.array([pool.trajectories[t].cells[f] for t, f in frames])
    return LabelledStructures(
        formulas=pool.compositions(),
        energies=pool.energies_per_atom(),
        volumes=np.abs(np.linalg.det(cells)) / pool.n_atoms(),
        forces=np.array([force_quantiles(pool.trajectories[t].forces[f]) for t, f in frames]),
    )
