"""The exit codes of jobs and work chains, by their labels: what each one means and what to do.

The numbers and messages are in the specifications of the processes.
"""

from __future__ import annotations

from aiida_mlip_autopipe.core.exit_codes.explanation import REPORT_BUG, RUN_AGAIN, Explanation
from aiida_mlip_autopipe.core.exit_codes.jobs import OF_JOBS
from aiida_mlip_autopipe.core.exit_codes.work_chains import OF_WORK_CHAINS

__all__ = ['EXPLANATIONS', 'REPORT_BUG', 'RUN_AGAIN', 'Explanation', 'explain']

RECOVERS = {'RecoverCalculation': 'ExplorationCalculation', 'RecoverLabelsCalculation': 'LabellingCalculation'}
"""The jobs that recover the files of killed jobs, whose exit codes mean the same as those of the killed jobs."""
EXPLANATIONS = OF_JOBS | OF_WORK_CHAINS


def explain(process: str, label: str) -> Explanation:
    """Return the explanation of an exit code.

    Parameters
    ----------
    process
        Name of the process class, such as ``ExplorationCalculation``.
    label
        Label of the exit code, such as ``ERROR_KILLED``.
    """
    names = (process, RECOVERS.get(process, process))
    specific = filter(None, (EXPLANATIONS.get(f'{name}.{label}') for name in names))
    return next(specific, None) or EXPLANATIONS[label]
