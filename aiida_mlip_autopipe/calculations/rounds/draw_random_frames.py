"""A calcfunction that draws frames at random, before the selection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.selection import nodes_from_selection
from aiida_mlip_autopipe.data.trajectory import sort_trajectories, trajectories_from_nodes
from aiida_mlip_autopipe.rounds.held_out import MIN_GROUPS
from aiida_mlip_autopipe.rounds.random_share import divide, draw_frames
from aiida_mlip_autopipe.sampling import Selection
from aiida_mlip_autopipe.sampling.pool.frames import FramePool, collect_frames
from aiida_mlip_autopipe.sampling.pool.held_out import join_groups
from aiida_mlip_autopipe.structures.rows.splits import TRAINING_KINDS, Role

# Increase this if a change to this module, or to what it calls, changes which frames are drawn.
DRAW_VERSION = '1'

ERROR_DRAW = 400


@dataclass(frozen=True, eq=False)
class Drawn:
    """Frames that were drawn at random.

    Attributes
    ----------
    frames
        Indices of the frames in the pool.
    roles
        The role of each frame.
    withheld_seeds
        Ids of the seeds whose frames must not be selected in this round, because a frame of their group has a role, or
        their group was tested in an earlier round.
    n_groups
        Number of groups with each role.
    n_test_groups
        Number of groups of the test set, including those of earlier rounds.
    """

    frames: list[int]
    roles: list[Role]
    withheld_seeds: list[str]
    n_groups: dict[Role, int]
    n_test_groups: int


@calcfunction
def draw_random_frames(
    settings: orm.Dict,
    random_seed: orm.Int,
    groups: orm.Dict,
    kinds: orm.Dict,
    stage_version: orm.Str,
    reference_dataset: DatasetData | None = None,
    **nodes: Mapping[str, orm.TrajectoryData],
) -> Mapping[str, orm.Data] | ExitCode:
    """Draw frames at random from all legs, and assign them to the calibration of error bounds and to the test set.

    Parameters
    ----------
    settings
        ``n_labels``, the number of frames, and ``round``, the number of the round from 1.
    random_seed
        The campaign's random seed.
    groups
        The parent of each seed, by seed id.
    kinds
        The kind of each seed, by seed id.
    stage_version
        Version of this function; increased when its results change.
    reference_dataset
        The rows of earlier rounds. A group that was tested or trained on keeps this role, and none of these frames is
        drawn again.
    **nodes
        The namespace ``legs``. The labels of the links have no meaning.

    Returns
    -------
    dict
        ``drawn``, a node like that of a selection with the further attributes ``roles``, ``withheld_seeds`` and
        ``round``; and ``report``.
    """
    legs = sort_trajectories(nodes['legs'].values())
    try:
        reference = [] if reference_dataset is None else reference_dataset.structures()
        pool = collect_frames(trajectories_from_nodes(legs), reference, kinds.get_dict())
        drawn = _draw(pool, groups.get_dict(), random_seed.value, settings['round'], settings['n_labels'])
    except AutopipeError as error:
        return ExitCode(ERROR_DRAW, str(error), invalidates_cache=True)
    # With fewer groups, the error on the test set has no upper limit.
    if drawn.n_test_groups < MIN_GROUPS:
        reason = (
            f'the test set has frames of only {counted(drawn.n_test_groups, "group")} of seeds, but at least '
            f'{MIN_GROUPS} are required; request more seeds'
        )
        return ExitCode(ERROR_DRAW, reason, invalidates_cache=True)
    unknown = np.full(len(drawn.frames), np.nan)
    selection = Selection(
        pool.trajectory_indices[drawn.frames],
        pool.frame_indices[drawn.frames],
        unknown,
        unknown,
        tuple('test' if role == 'test' else 'train' for role in drawn.roles),
        _report(pool, drawn, settings['n_labels']),
    )
    made = nodes_from_selection(selection, legs)
    made['selection'].base.attributes.set_many(
        {'roles': drawn.roles, 'withheld_seeds': drawn.withheld_seeds, 'round': settings['round']}
    )
    return {'drawn': made['selection'], 'report': made['report']}


def _draw(pool: FramePool, groups: Mapping[str, str], random_seed: int, number: int, n_labels: int) -> Drawn:
    """Draw frames for a round. At most half of the groups are drawn, so that the others can be selected."""
    names, known = join_groups(pool, groups)
    tested = {name for name, splits in known.items() if splits == {'test'}}
    trained = {name for name, splits in known.items() if 'test' not in splits}
    # A group that is in both sets, as in a dataset that was merged by hand, suits neither.
    unusable = known.keys() - tested - trained
    is_for_training = pool.has_kind(TRAINING_KINDS)
    usable = [index for index, name in enumerate(names) if not is_for_training[index] and name not in unusable]
    of_usable = [names[index] for index in usable]
    drawn = draw_frames(
        of_usable, random_seed, 'round', str(number), n_drawn=n_labels, max_groups=len(set(of_usable)) // 2
    )
    of_drawn = [of_usable[place] for place in drawn]
    share = divide(of_drawn, test_groups=tested, training_groups=trained)
    tests = set(share.test)
    test_groups = {of_drawn[place] for place in share.test}
    withheld = {*of_drawn, *tested, *unusable}
    return Drawn(
        frames=[usable[place] for place in drawn],
        roles=['test' if place in tests else 'calibration' for place in range(len(drawn))],
        withheld_seeds=sorted({seed for seed, name in zip(pool.seed_ids(), names, strict=True) if name in withheld}),
        n_groups={
            'calibration': len({of_drawn[place] for place in share.calibration}),
            'test': len(test_groups),
        },
        n_test_groups=len(test_groups | tested),
    )


def _report(pool: FramePool, drawn: Drawn, n_requested: int) -> dict[str, Any]:
    n_drawn = len(drawn.frames)
    warning = f'frames drawn at random: {n_drawn} of {n_requested} requested, because no others can be drawn'
    return {
        'n_requested': n_requested,
        'n_selected': n_drawn,
        'n_candidates': len(pool),
        'sampler': 'random_share',
        'n_calibration': drawn.roles.count('calibration'),
        'n_test': drawn.roles.count('test'),
        'n_groups': drawn.n_groups,
        'n_frames': pool.n_frames,
        'n_withheld_seeds': len(drawn.withheld_seeds),
        'warnings': [warning] if n_drawn < n_requested else [],
    }
