"""The settings of full trajectories and of their copies."""

import pytest
from support.errors import refused

from aiida_mlip_autopipe.config import validate_config
from aiida_mlip_autopipe.core.codes import Code

BASE = {'name': 'a', 'generation': [{'kind': 'alloy', 'lattice': 'fcc', 'composition': {'Cu': 1.0}}]}
INTERVAL = 'exploration.full_trajectory_interval'
WRITTEN = {'full_trajectory_interval': 1}


def test_full_trajectories_are_neither_written_nor_copied_by_default(tmp_path):
    config = validate_config(BASE, tmp_path)
    assert config.exploration.full_trajectory_interval is None
    assert config.execution.stash is None


def test_full_trajectories_can_be_written_and_copied(tmp_path):
    assert validate_config({**BASE, 'exploration': WRITTEN}, tmp_path).execution.stash is None
    execution = {'stash': {'folder': '/archive/me', 'resources': {'queue': 'transfer'}}}
    config = validate_config({**BASE, 'exploration': WRITTEN, 'execution': execution}, tmp_path)
    assert config.execution.stash.folder == '/archive/me'
    assert config.execution.stash.resources.queue == 'transfer'


@pytest.mark.parametrize(
    ('exploration', 'execution', 'code', 'values'),
    [
        ({'full_trajectory_interval': 0}, {}, Code.OUT_OF_RANGE, (f'{INTERVAL}: ', '0', '1')),
        ({'full_trajectory_interval': 'all'}, {}, Code.TYPE_WRONG, (f'{INTERVAL}: ', "'all'")),
        (
            {'full_trajectory_interval': 2000},
            {},
            Code.OUT_OF_RANGE,
            ('exploration: ', 'full_trajectory_interval', '2000', '1000'),
        ),
        (WRITTEN, {'stash': {'folder': 'archive'}}, Code.WRONG_PATTERN, ('execution.stash.folder: ', "'archive'")),
        (WRITTEN, {'stash': {'folder': '~/archive'}}, Code.WRONG_PATTERN, ('execution.stash.folder: ', "'~/archive'")),
        (WRITTEN, {'stash': {}}, Code.VALUE_MISSING, ('execution.stash.folder: ',)),
        (WRITTEN, {'stash': {'folders': '/archive'}}, Code.KEY_UNKNOWN, ('execution.stash.folders: ', "'folder'")),
        (
            {},
            {'stash': {'folder': '/archive'}},
            Code.VALUES_INCOMPLETE,
            ('execution.stash: ', "'/archive'", INTERVAL),
        ),
        (
            {},
            {'codes': [{'code': 'a@b', 'stash': {'folder': '/archive'}}]},
            Code.VALUES_INCOMPLETE,
            ('execution.codes[0].stash: ', "'/archive'", INTERVAL),
        ),
    ],
)
def test_an_invalid_setting_is_refused_with_its_place(tmp_path, exploration, execution, code, values):
    with refused(code, *values):
        validate_config({**BASE, 'exploration': exploration, 'execution': execution}, tmp_path)
