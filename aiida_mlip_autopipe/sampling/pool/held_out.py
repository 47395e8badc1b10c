"""Validation and test sets from held-out groups, which the sampler does not bias."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.randomness import make_rng
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.sampling.pool.frames import FramePool
from aiida_mlip_autopipe.sampling.pool.reference_dataset import ReferenceSets, read_reference_sets
from aiida_mlip_autopipe.sampling.selection_settings import SelectionSettings
from aiida_mlip_autopipe.structures.duplicates import LabelledStructures, filled_extent, force_quantiles, join_alike
from aiida_mlip_autopipe.structures.rows.provenance import SEED_PREFIX, searchable
from aiida_mlip_autopipe.structures.rows.splits import (
    SPLITS,
    Category,
    Split,
    absence_warnings,
    assign_groups,
    describe_sets,
    size_warnings,
)

# Maximum number of groups in a message.
MAX_NAMED = 5


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The division of the candidates into those for the sampler and the held-out frames.

    Attributes
    ----------
    left
        Indices in the pool of the candidates for the sampler.
    drawn
        Indices in the pool of the frames that were drawn for each held-out set. Empty if no set is requested.
    n_to_pick
        Number of frames for the sampler to choose.
    is_divided
        Whether the candidates were divided: a set is requested, or the reference dataset has one.
    report, warnings
        The number of groups in each set, the number of groups that were joined because they have a structure in common,
        and the number of frames requested for each set; warnings about sets that are too small or too large, about
        kinds and labels that are missing from the training set, and about groups that are in several sets of the
        reference dataset.
    """

    left: np.ndarray
    drawn: dict[Split, np.ndarray]
    n_to_pick: int
    is_divided: bool
    report: dict[str, Any]
    warnings: list[str]

    def splits(self, n_picked: int) -> tuple[Split | None, ...]:
        """Return the set of each frame, starting with the frames that the sampler chose; None if there are no sets."""
        drawn = [split for split, frames in self.drawn.items() for _ in frames]
        return ('train' if self.is_divided else None,) * n_picked + tuple(drawn)


def hold_out(pool: FramePool, settings: SelectionSettings, groups: Mapping[str, str], random_seed: int) -> HeldOut:
    """Assign the groups of the candidates to sets, and draw the frames for validation and testing at random.

    Groups that have a structure in common are joined, even if it is rotated or repeated, or its atoms are in a
    different order. If kinds or labels are held out, all groups with a frame of these are held out, and the test set is
    drawn from the frames of these kinds and labels.

    A group with a structure in the reference dataset stays in the set of this structure. Structures of the reference
    dataset without a set are used for training. If the structures of a group are in several sets of the reference
    dataset, its candidates are not used.

    Raises
    ------
    AutopipeError
        If all frames belong to held-out kinds or labels, or to groups that contain such a frame.
    """
    fractions: dict[Split, float] = {'valid': settings.valid_fraction, 'test': settings.test_fraction}
    fractions = {split: fraction for split, fraction in fractions.items() if fraction > 0}
    reference = read_reference_sets(pool.reference)
    if not len(pool) or not (fractions or reference.has_held_out):
        return HeldOut(np.arange(len(pool)), {}, settings.n_structures, False, {}, [])

    groups_of_frames = [_group_of(seed_id, groups) for seed_id in pool.seed_ids()]
    names, known = _join(pool, groups_of_frames, groups, reference)
    ambiguous = {name for name, found in known.items() if len(found) > 1}
    is_usable = np.array([name not in ambiguous for name in names], dtype=bool)
    has_label = np.array([label in settings.held_out_labels for label in known_labels(pool)], dtype=bool)
    is_held_out = (pool.has_kind(settings.held_out_kinds) | has_label) & is_usable
    fixed = {name: next(iter(found)) for name, found in known.items() if len(found) == 1}
    held_out = {name for name, is_out in zip(names, is_held_out, strict=True) if is_out and name not in fixed}
    categories = _categories(pool, names, held_out | ambiguous)
    if not categories and held_out:
        kinds = ', '.join(sorted(set(pool.kinds())))
        labels = ', '.join(sorted({label or 'none' for label in known_labels(pool)}))
        raise AutopipeError(
            Code.TRAINING_SET_EMPTY,
            'held_out_kinds and held_out_labels leave no frame for training; kinds of the candidates: '
            f'{kinds}; their labels: {labels}',
        )
    assigned = assign_groups(
        Counter(name for name in names if name in categories),
        valid_fraction=settings.valid_fraction,
        test_fraction=0.0 if settings.holds_out_entries else settings.test_fraction,
        random_seed=random_seed,
        categories=categories,
        fixed=fixed,
    ) | dict.fromkeys(held_out, 'test')
    splits = [assigned.get(name) for name in names]
    drawn: dict[Split, np.ndarray] = {}
    warnings = _warn_of_ambiguous(ambiguous, int((~is_usable).sum()))
    n_requested = {split: round(fraction * settings.n_structures) for split, fraction in fractions.items()}
    for split, n in n_requested.items():
        by_entry = split == 'test' and settings.holds_out_entries
        in_set = np.array([found == split for found in splits], dtype=bool)
        members = np.flatnonzero(in_set & is_held_out if by_entry else in_set)
        drawn[split] = make_rng(random_seed, 'sampling', split).permutation(members)[:n]
        if len(drawn[split]) < n:
            warnings.append(
                f'the {split} set has only {len(members)} of {counted(n, "requested structure")}, because the '
                f'{"entries" if by_entry else "groups"} held out for it contain no more frames'
            )
    return HeldOut(
        left=np.flatnonzero([found == 'train' for found in splits]),
        drawn=drawn,
        n_to_pick=settings.n_structures - sum(n_requested.values()),
        is_divided=True,
        report={
            'n_groups_joined': len(set(groups_of_frames)) - len(set(names)),
            'n_groups': {split: sum(found == split for found in assigned.values()) for split in SPLITS},
            'n_groups_of_reference': {
                split: sum(fixed.get(name) == split for name in assigned) for split in SPLITS if fixed
            },
            'n_requested_of_set': n_requested,
            'n_held_out': {split: len(found) for split, found in drawn.items()},
        },
        warnings=warnings + _warn_of_shares(pool, splits, settings),
    )


def join_groups(pool: FramePool, groups: Mapping[str, str]) -> tuple[list[str], dict[str, set[Split]]]:
    """Return the group of each candidate, and the sets of the reference dataset that contain each group.

    Groups that have a structure in common are joined; see `hold_out`.

    Parameters
    ----------
    pool
        The candidates.
    groups
        The group of each seed, by its id. A seed that is missing from this mapping forms its own group.
    """
    groups_of_frames = [_group_of(seed_id, groups) for seed_id in pool.seed_ids()]
    return _join(pool, groups_of_frames, groups, read_reference_sets(pool.reference))


def _group_of(seed_id: str, groups: Mapping[str, str]) -> str:
    return searchable(groups.get(seed_id, SEED_PREFIX + seed_id))


def _join(
    pool: FramePool, groups: Sequence[str], group_of_seed: Mapping[str, str], reference: ReferenceSets
) -> tuple[list[str], dict[str, set[Split]]]:
    # Frames that are not candidates because the reference dataset contains them, each with its set there, and pairs of
    # groups with an identical frame, which is a candidate only once.
    repeated = [
        (_group_of(seed, group_of_seed), reference.splits[index])
        for seed, found in pool.repeated.items()
        for index in found
    ]
    copied = [(_group_of(first, group_of_seed), _group_of(second, group_of_seed)) for first, second in pool.copied]
    joined = join_alike(
        LabelledStructures.concatenate([_fingerprints(pool), reference.labelled]),
        [*groups, *(reference.groups[index] for index in reference.with_labels)],
        also=copied,
    )
    name_of = dict(zip([*groups, *(reference.groups[index] for index in reference.with_labels)], joined, strict=True))
    known: dict[str, set[Split]] = {}
    for group, splits in reference.sets_of_groups().items():
        known.setdefault(name_of.get(group, group), set()).update(splits)
    for group, split in repeated:
        known.setdefault(name_of.get(group, group), set()).add(split)
    return joined[: len(groups)], known


def _categories(pool: FramePool, names: Sequence[str], without: set[str]) -> dict[str, Counter[Category]]:
    """Return the number of candidates of each group by their kind, label and composition."""
    found: dict[str, Counter[Category]] = {}
    for name, *values in zip(names, pool.kinds(), known_labels(pool), pool.compositions(), strict=True):
        if name not in without:
            properties = zip(('kind', 'label', 'composition'), values, strict=True)
            found.setdefault(name, Counter()).update((key, value) for key, value in properties if value is not None)
    return found


def known_labels(pool: FramePool) -> list[str | None]:
    """Return the label of the entry of each candidate's seed; None if it has no label."""
    return [pool.label_of_seed.get(seed_id) for seed_id in pool.seed_ids()]


def _warn_of_ambiguous(groups: set[str], n_frames: int) -> list[str]:
    if not n_frames:
        return []
    named = ', '.join(sorted(groups)[:MAX_NAMED]) + (', …' if len(groups) > MAX_NAMED else '')
    return [
        f'number of candidates that are not used, because their groups are in several sets of the reference dataset: '
        f'{n_frames} ({named})'
    ]


def _warn_of_shares(pool: FramePool, splits: Sequence[Split | None], settings: SelectionSettings) -> list[str]:
    """Return warnings about the candidates that are reserved for each set, and about values missing from training."""
    fractions: dict[Split, float] = {'valid': settings.valid_fraction, 'test': settings.test_fraction}
    fractions = {split: fraction for split, fraction in fractions.items() if fraction}
    if settings.holds_out_entries:
        fractions.pop('test')
    n_found = {split: list(splits).count(split) for split in SPLITS}
    return [
        *size_warnings(
            # Another warning reports empty sets.
            {split: fraction * len(pool) for split, fraction in fractions.items() if n_found[split]},
            n_found,
            of='candidates',
            remedy='add seeds of other parents, or request another fraction',
        ),
        *absence_warnings(
            describe_sets(splits, {'kind': pool.kinds(), 'label': known_labels(pool)}, [None] * len(splits)),
            expected={'kind', 'label'} if settings.holds_out_entries else (),
        ),
    ]


def _fingerprints(pool: FramePool) -> LabelledStructures:
    frames = [(pool.trajectories[t], f) for t, f in zip(pool.trajectory_indices, pool.frame_indices, strict=True)]
    extents = [filled_extent(one.positions[f], one.cells[f], one.pbc) for one, f in frames]
    return LabelledStructures(
        formulas=pool.compositions(),
        energies=pool.energies_per_atom(),
        volumes=np.array(extents) / pool.n_atoms(),
        forces=np.array([force_quantiles(one.forces[f]) for one, f in frames]),
    )
