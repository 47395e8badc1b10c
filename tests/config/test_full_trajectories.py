"""What a config says of full trajectories and of where they are copied to."""

import re

import pytest

from aiida_mlip_autopipe.config import validate_config
from aiida_mlip_autopipe.core.errors import ConfigError

BASE = {'name': 'a', 'generation': [{'kind': 'alloy', 'lattice': 'fcc', 'composition': {'Cu': 1.0}}]}
KEPT = {'full_trajectory_interval': 1}


def test_no_full_trajectory_is_kept_and_nothing_stashed_by_default(tmp_path):
    config = validate_config(BASE, tmp_path)
    assert config.exploration.full_trajectory_interval is None
    assert config.execution.stash is None


def test_full_trajectories_stay_or_are_stashed(tmp_path):
    assert validate_config({**BASE, 'exploration': KEPT}, tmp_path).execution.stash is None
    execution = {'stash': {'folder': '/archive/me', 'resources': {'queue': 'transfer'}}}
    config = validate_config({**BASE, 'exploration': KEPT, 'execution': execution}, tmp_path)
    assert config.execution.stash.folder == '/archive/me'
    assert config.execution.stash.resources.queue == 'transfer'


@pytest.mark.parametrize(
    ('exploration', 'execution', 'sentence'),
    [
        ({'full_trajectory_interval': 0}, {}, 'exploration.full_trajectory_interval: got 0; must be at least 1'),
        ({'full_trajectory_interval': 'all'}, {}, "exploration.full_trajectory_interval: got 'all'"),
        (
            {'full_trajectory_interval': 2000},
            {},
            'full_trajectory_interval is 2000, more than all 1000 steps: the full trajectory would be empty',
        ),
        (KEPT, {'stash': {'folder': 'archive'}}, "execution.stash.folder: got 'archive'; must be an absolute path"),
        (KEPT, {'stash': {'folder': '~/archive'}}, "execution.stash.folder: got '~/archive'; must be an absolute path"),
        (KEPT, {'stash': {}}, 'execution.stash.folder'),
        (KEPT, {'stash': {'folders': '/archive'}}, "did you mean 'folder'?"),
        ({}, {'stash': {'folder': '/archive'}}, "execution.stash: got '/archive'; needs exploration.full_trajectory"),
        (
            {},
            {'codes': [{'code': 'a@b', 'stash': {'folder': '/archive'}}]},
            "execution.codes[0].stash: got '/archive'; needs exploration.full_trajectory_interval",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(tmp_path, exploration, execution, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        validate_config({**BASE, 'exploration': exploration, 'execution': execution}, tmp_path)
