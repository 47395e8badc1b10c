import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.engine import ProcessState

from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation

CODES = ExplorationCalculation.exit_codes


@pytest.mark.parametrize(
    ('exit_code', 'last_step', 'force_calls', 'is_valid'),
    [
        (CODES.ERROR_OUT_OF_WALLTIME, 40, 20, True),
        (CODES.ERROR_KILLED, 40, 20, True),
        (CODES.ERROR_OUT_OF_WALLTIME, 20, 1, False),
        (CODES.ERROR_OUT_OF_WALLTIME, 20, 9, True),
        (CODES.ERROR_KILLED, 20, 1, False),
        (CODES.ERROR_UNSTABLE, 20, 1, True),
    ],
)
def test_a_job_that_was_stopped_before_its_first_step_is_not_taken_from_the_cache(
    exit_code, last_step, force_calls, is_valid
):
    node = orm.CalcJobNode(process_type=ExplorationCalculation.build_process_type()).store()
    result = orm.Dict({'first_step': 20, 'last_step': last_step, 'force_calls': force_calls})
    result.base.links.add_incoming(node, LinkType.CREATE, 'result')
    result.store()
    node.set_exit_status(exit_code.status)
    node.set_process_state(ProcessState.FINISHED)
    assert ExplorationCalculation.is_valid_cache(node) is is_valid
