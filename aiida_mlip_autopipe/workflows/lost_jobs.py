"""Jobs that the cluster lost: they were cancelled, their node failed, or they left no result. They can run again."""

from __future__ import annotations

from aiida import orm

from aiida_mlip_autopipe.calculations.job import CalculatorJob
from aiida_mlip_autopipe.calculations.labelling.label import LabellingCalculation

# A job is submitted again at most this many times in a row. After that, a cancellation is considered intentional.
MAX_LOST = 2

CODES = LabellingCalculation.exit_codes
# Exit codes of a labelling job that may have ended early because of the structure that it was computing. If the next
# job also ends at this structure, the structure has no label; the value is the rule of its failure.
RULE_OF_STRUCTURE = {
    CODES.ERROR_OUT_OF_WALLTIME.status: 'time_limit',
    CODES.ERROR_SCHEDULER_OUT_OF_WALLTIME.status: 'time_limit',
    CODES.ERROR_SCHEDULER_OUT_OF_MEMORY.status: 'out_of_memory',
    CODES.ERROR_DEVICE_OUT_OF_MEMORY.status: 'out_of_memory',
    CODES.ERROR_KILLED.status: 'killed',
    CODES.ERROR_RESULT_MISSING.status: 'killed',
}
# Exit codes of a labelling job that is repeated if it computed nothing.
LOST = {
    CODES.ERROR_RESULT_MISSING.status,
    CODES.ERROR_CANCELLED.status,
    CODES.ERROR_SCHEDULER_NODE_FAILURE.status,
}
# Exit codes of a labelling job whose remaining structures are computed by another job.
INTERRUPTED = LOST | RULE_OF_STRUCTURE.keys()


def is_lost(node: orm.ProcessNode) -> bool:
    """Return whether a job ended without a result for an external reason.

    Parameters
    ----------
    node
        A job, or another process, which is never lost.
    """
    codes = CalculatorJob.exit_codes
    lost = (codes.ERROR_RESULT_MISSING, codes.ERROR_CANCELLED, codes.ERROR_SCHEDULER_NODE_FAILURE)
    return isinstance(node, orm.CalcJobNode) and node.exit_status in {code.status for code in lost}


def lost_message(node: orm.CalcJobNode) -> str:
    """Return the message about a lost job that is submitted again."""
    return f'job {node.pk} left no result ({node.exit_message}); submitting it again'
