"""Jobs that the cluster lost: they were cancelled, their node failed, or they left no result. They can run again."""

from __future__ import annotations

from aiida import orm

from aiida_mlip_autopipe.calculations.job import CalculatorJob

# A job is submitted again at most this many times in a row. After that, a cancellation is considered intentional.
MAX_LOST = 2


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
