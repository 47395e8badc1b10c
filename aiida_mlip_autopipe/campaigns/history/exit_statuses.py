"""The labels of the exit codes of this package's processes, by their numbers.

AiiDA stores only the number and the message of an exit code. The specifications of the processes also contain the
labels, but it takes seconds to import the processes, and a command that explains a campaign must answer faster than
that. A test compares this table with the specifications.
"""

from __future__ import annotations

from aiida_mlip_autopipe.core.exit_codes import REPORT_BUG, RUN_AGAIN, Explanation, explain

_ANY_JOB = {
    100: 'ERROR_NO_RETRIEVED_FOLDER',
    110: 'ERROR_SCHEDULER_OUT_OF_MEMORY',
    120: 'ERROR_SCHEDULER_OUT_OF_WALLTIME',
    131: 'ERROR_SCHEDULER_INVALID_ACCOUNT',
    140: 'ERROR_SCHEDULER_NODE_FAILURE',
    150: 'STOPPED_BY_MONITOR',
    160: 'ERROR_STASHING_FAILED',
    330: 'ERROR_IMAGE_MISSING',
    331: 'ERROR_EXECUTABLE_MISSING',
    332: 'ERROR_WRONG_ARCHITECTURE',
    333: 'ERROR_CONTAINER',
    334: 'ERROR_DISK_FULL',
    335: 'ERROR_CANCELLED',
    336: 'ERROR_DEVICE_OUT_OF_MEMORY',
}
_CALCULATOR_JOB = {
    **_ANY_JOB,
    300: 'ERROR_RESULT_MISSING',
    301: 'ERROR_RESULT_UNREADABLE',
    302: 'ERROR_TRAJECTORY_MISSING',
    303: 'ERROR_TRAJECTORY_UNREADABLE',
    310: 'ERROR_CONTRACT_VERSION',
    311: 'ERROR_SETTINGS_REFUSED',
    320: 'ERROR_CALCULATOR_MISSING',
    321: 'ERROR_MODEL_NOT_LOADED',
    322: 'ERROR_MODEL_MISMATCH',
    323: 'ERROR_ELEMENT_UNSUPPORTED',
    324: 'ERROR_ENVIRONMENT_CHANGED',
    325: 'ERROR_MODEL_MISSING',
    350: 'ERROR_RUNNER_RAISED',
}
_EXPLORATION_JOB = {
    **_CALCULATOR_JOB,
    304: 'ERROR_CHECKPOINT_UNREADABLE',
    400: 'ERROR_OUT_OF_WALLTIME',
    401: 'ERROR_KILLED',
    410: 'ERROR_UNSTABLE',
    411: 'ERROR_NO_FRAME',
}
_LABELLING_JOB = {
    **_CALCULATOR_JOB,
    400: 'ERROR_OUT_OF_WALLTIME',
    401: 'ERROR_KILLED',
    411: 'ERROR_NO_FRAME',
}

LABELS = {
    'AssessmentCalculation': {
        **_CALCULATOR_JOB,
        400: 'ERROR_OUT_OF_WALLTIME',
        401: 'ERROR_KILLED',
    },
    'CampaignWorkChain': {
        405: 'ERROR_STOPPED',
        410: 'ERROR_ROUND',
    },
    'DatasetWorkChain': {
        400: 'ERROR_GENERATION',
        401: 'ERROR_TOO_FEW_EXPLORATIONS',
        402: 'ERROR_NO_FRAMES',
        403: 'ERROR_SAMPLING',
        404: 'ERROR_EXPORT',
        405: 'ERROR_STOPPED',
        406: 'ERROR_DESCRIPTORS',
        407: 'ERROR_REFERENCE_DATASET',
        408: 'ERROR_LABELLING',
        409: 'ERROR_RANDOM_SHARE',
    },
    'DescriptorsCalculation': {
        **_CALCULATOR_JOB,
        400: 'ERROR_OUT_OF_WALLTIME',
    },
    'DescriptorsWorkChain': {
        401: 'ERROR_DESCRIPTORS',
    },
    'EvaluationCalculation': {
        **_CALCULATOR_JOB,
        400: 'ERROR_OUT_OF_WALLTIME',
        411: 'ERROR_NO_FRAME',
    },
    'ExplorationCalculation': _EXPLORATION_JOB,
    'ExplorationWorkChain': {
        301: 'ERROR_SUB_PROCESS_EXCEPTED',
        302: 'ERROR_SUB_PROCESS_KILLED',
        401: 'ERROR_MAXIMUM_ITERATIONS_EXCEEDED',
        402: 'ERROR_UNHANDLED_FAILURE',
        403: 'ERROR_NO_PROGRESS',
        404: 'ERROR_OUT_OF_MEMORY',
        405: 'ERROR_STOPPED',
        406: 'ERROR_JOBS_LOST',
        407: 'ERROR_DEVICE_OUT_OF_MEMORY',
        408: 'ERROR_FILES_UNREADABLE',
        410: 'ERROR_UNSTABLE',
        411: 'ERROR_NO_FRAME',
    },
    'LabellingCalculation': _LABELLING_JOB,
    'LabellingWorkChain': {
        400: 'ERROR_JOB',
        401: 'ERROR_NO_LABELS',
        402: 'ERROR_LEVEL',
        405: 'ERROR_STOPPED',
    },
    'ProcessLabellingWorkChain': {
        401: 'ERROR_KILLED',
        402: 'ERROR_ISOLATED_ATOM',
    },
    'RecoverCalculation': _EXPLORATION_JOB,
    'RecoverLabelsCalculation': _LABELLING_JOB,
    'SelectionCalculation': {
        **_CALCULATOR_JOB,
        400: 'ERROR_OUT_OF_WALLTIME',
        401: 'ERROR_SAMPLING',
        402: 'ERROR_SELECTION_UNREADABLE',
    },
    'SelfTestCalculation': {
        **_ANY_JOB,
        301: 'ERROR_REPORT_UNREADABLE',
        320: 'ERROR_SELF_TEST_FAILED',
    },
    'StashCalculation': {
        **_ANY_JOB,
        300: 'ERROR_REPORT_MISSING',
        340: 'ERROR_ORIGINAL',
        341: 'ERROR_FOLDER',
        342: 'ERROR_COPY',
    },
    'TrainingCalculation': {
        **_CALCULATOR_JOB,
        304: 'ERROR_CHECKPOINT_UNREADABLE',
        400: 'ERROR_OUT_OF_WALLTIME',
        401: 'ERROR_KILLED',
        420: 'ERROR_TRAINING_FAILED',
    },
    'TrainingWorkChain': {
        301: 'ERROR_SUB_PROCESS_EXCEPTED',
        302: 'ERROR_SUB_PROCESS_KILLED',
        401: 'ERROR_MAXIMUM_ITERATIONS_EXCEEDED',
        402: 'ERROR_UNHANDLED_FAILURE',
        403: 'ERROR_NO_PROGRESS',
        404: 'ERROR_OUT_OF_MEMORY',
        405: 'ERROR_STOPPED',
        406: 'ERROR_JOBS_LOST',
        407: 'ERROR_DEVICE_OUT_OF_MEMORY',
        408: 'ERROR_FILES_UNREADABLE',
        420: 'ERROR_TRAINING_FAILED',
        421: 'ERROR_REPLAY',
    },
}
"""The labels by process class and number."""

ENDINGS = {
    'killed': Explanation('The process was killed through AiiDA.', RUN_AGAIN),
    'excepted': Explanation('The process ended with an exception.', REPORT_BUG),
}
"""The explanation of the states of processes that ended without an exit code."""


def find_label(process: str, status: int | None) -> str | None:
    """Return the label of an exit code; None for a process of another package, or without an exit code.

    Parameters
    ----------
    process
        Name of the process class, such as ``ExplorationCalculation``.
    status
        Number of the exit code.
    """
    return None if status is None else LABELS.get(process, {}).get(status)


def explain_ending(process: str, state: str, status: int | None) -> Explanation | None:
    """Return what the end of a process means and what to do.

    None if it succeeded, is running, or belongs to another package.

    Parameters
    ----------
    process
        Name of the process class.
    state
        The state of the process, such as ``finished``.
    status
        Number of its exit code.
    """
    if state in ENDINGS:
        return ENDINGS[state]
    label = find_label(process, status)
    return None if label is None else explain(process, label)
