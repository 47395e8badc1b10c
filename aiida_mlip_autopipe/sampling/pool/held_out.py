"""Keep whole lineages out of the selection, so that validation and test sets are not biased by the sampler."""

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
    """What the sampler does not choose.

    Attributes
    ----------
    left
        The candidates that are left to the sampler, as positions in the pool.
    drawn
        The frames drawn for each set that is held out, as positions in the pool; empty where nothing is.
    n_to_pick
        Number of frames that the sampler must choose.
    report, warnings
        How many lineages each set has, how many were joined for a structure that they share, and where a set is not
        what was asked for.
    """

    left: np.ndarray
    drawn: dict[Split, np.ndarray]
    n_to_pick: int
    report: dict[str, Any]
    warnings: list[str]

    def splits(self, n_picked: int) -> tuple[Split | None, ...]:
        """Return the split of each frame, first of those that the sampler picked; None if nothing is held out."""
        drawn = [split for split, places in self.drawn.items() for _ in places]
        return ('train' if self.drawn else None,) * n_picked + tuple(drawn)


def hold_out(pool: FramePool, settings: SelectionSettings, lineages: Mapping[str, str], random_seed: int) -> HeldOut:
    """Divide the lineages of the candidates, and draw the frames for validation and testing by chance.

    Lineages that share a structure, also turned, renumbered or repeated, count as one. Where kinds are held out, all
    lineages with a frame of these are, and the test set is drawn from the frames of these kinds.

    Raises
    ------
    AutopipeError
        If all frames are of kinds that are held out, or of lineages that share a structure with one.
    """
    shares: dict[Split, float] = {'valid': settings.valid_share, 'test': settings.test_share}
    shares = {split: share for split, share in shares.items() if share > 0}
    if not shares:
        return HeldOut(np.arange(len(pool)), {}, settings.n_structures, {}, [])
    lineages_of_frames = [lineages.get(seed_id, seed_id) for seed_id in pool.seed_ids()]
    names = join_alike(_fingerprints(pool), lineages_of_frames)
    is_held = np.isin(pool.kinds(), settings.held_out_kinds)
    held = {name for name, is_of_them in zip(names, is_held, strict=True) if is_of_them}
    sizes = Counter(name for name in names if name not in held)
    if not sizes:
        kinds = ', '.join(sorted(set(pool.kinds())))
        raise AutopipeError(
            Code.TRAINING_SET_EMPTY,
            f'held_out_kinds: no frame is left for training; the kinds of the candidates are {kinds}',
        )
    test_share = 0.0 if settings.held_out_kinds else settings.test_share
    assigned = assign_groups(
        sizes, valid_share=settings.valid_share, test_share=test_share, random_seed=random_seed
    ) | dict.fromkeys(held, 'test')
    splits = np.array([assigned[name] for name in names])
    wanted = {split: round(share * settings.n_structures) for split, share in shares.items()}
    drawn, warnings = {}, []
    for split, n_wanted in wanted.items():
        by_kind = split == 'test' and settings.held_out_kinds
        members = np.flatnonzero(is_held if by_kind else splits == split)
        drawn[split] = make_rng(random_seed, 'sampling', split).permutation(members)[:n_wanted]
        if len(drawn[split]) < n_wanted:
            warnings.append(
                f'{n_wanted} structures were asked for the {split} set, but the '
                f'{"kinds" if by_kind else "lineages"} held out for it have only {len(members)} frames'
            )
    return HeldOut(
        left=np.flatnonzero(splits == 'train'),
        drawn=drawn,
        n_to_pick=settings.n_structures - sum(wanted.values()),
        report={
            'n_lineages_joined': len(set(lineages_of_frames)) - len(set(names)),
            'n_lineages': {split: sum(found == split for found in assigned.values()) for split in SPLITS},
            'n_held_out': {split: len(found) for split, found in drawn.items()},
        },
        warnings=warnings,
    )


def _fingerprints(pool: FramePool) -> LabelledStructures:
    places = list(zip(pool.trajectory_indices, pool.frame_indices, strict=True))
    cells = np.array([pool.trajectories[t].cells[f] for t, f in places])
    return LabelledStructures(
        formulas=pool.compositions(),
        energies=pool.energies_per_atom(),
        volumes=np.abs(np.linalg.det(cells)) / pool.n_atoms(),
        forces=np.array([force_quantiles(pool.trajectories[t].forces[f]) for t, f in places]),
    )
