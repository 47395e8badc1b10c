"""The table of labels agrees with the specifications of the processes."""

import sys
from pathlib import Path

import pytest

from aiida_mlip_autopipe.campaigns.history.exit_statuses import LABELS, explain_ending, find_label
from aiida_mlip_autopipe.core.exit_codes import explain

sys.path.insert(0, str(Path(__file__).parents[3] / 'docs' / 'extensions'))

pytestmark = pytest.mark.integration


def test_the_table_lists_every_exit_code_of_every_process():
    from errors_reference import FIRST_STATUS, processes

    found = {
        process.__name__: {
            code.status: label for label, code in process.spec().exit_codes.items() if code.status >= FIRST_STATUS
        }
        for _, process in processes()
    }
    assert found == LABELS


def test_the_end_of_a_process_is_explained_by_its_exit_code_or_its_state():
    assert find_label('ExplorationCalculation', 410) == 'ERROR_UNSTABLE'
    assert explain_ending('ExplorationCalculation', 'finished', 410) == explain(
        'ExplorationCalculation', 'ERROR_UNSTABLE'
    )
    assert 'PK' in explain_ending('ExplorationCalculation', 'excepted', None).remedy
    assert explain_ending('ExplorationCalculation', 'finished', 0) is None
    assert explain_ending('PwCalculation', 'finished', 310) is None
