"""What `explain` prints about the end of a process."""

import pytest

from aiida_mlip_autopipe.cli.provenance.explain import _ending


@pytest.mark.parametrize(
    ('state', 'exit_label', 'expected'),
    [
        ('killed', None, 'killed'),
        ('finished', 'ERROR_STOPPED', 'stopped'),
        ('finished', 'ERROR_SAMPLING', 'failed'),
        ('excepted', None, 'failed'),
    ],
)
def test_a_process_that_a_user_stopped_or_killed_has_not_failed(state, exit_label, expected):
    assert _ending(state, exit_label) == expected
