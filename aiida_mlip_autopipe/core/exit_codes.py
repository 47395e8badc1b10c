"""The exit codes of jobs and work chains, by their labels: what each one means and what to do.

The numbers and messages are in the specifications of the processes.
"""

from __future__ import annotations

from typing import NamedTuple


class Explanation(NamedTuple):
    """What an exit code means and what the user can do, in one or two sentences each."""

    meaning: str
    remedy: str


RECOVERS = {'RecoverCalculation': 'ExplorationCalculation', 'RecoverLabelsCalculation': 'LabellingCalculation'}
"""The jobs that recover the files of killed jobs, whose exit codes mean the same as those of the killed jobs."""
RUN_AGAIN = 'Run the same file again: only missing results are computed.'
CHECK_DISK = 'Check the disk of the computer, then run the same file again.'
REPORT_BUG = 'Read the traceback with `verdi process report PK`, and report it as a bug.'
_NEXT_LEG = 'No action is needed: the next leg continues from the checkpoint.'
_AGAIN = 'No action is needed: the steps or labels are computed again.'
NO_FOLDER = Explanation('The folder of the killed job is missing, or contains no result.', _AGAIN)
NOT_RECOVERED = Explanation('A file of the killed job is missing or damaged, or belongs to another run.', _AGAIN)
UNFINISHED = Explanation('The job was stopped or killed.', 'Continue with its output `unfinished` as an input.')

EXPLANATIONS = {
    # AiiDA and the scheduler.
    'ERROR_NO_RETRIEVED_FOLDER': Explanation(
        'AiiDA retrieved no files from the job.',
        'Test the connection with `verdi computer test`, then run the same file again.',
    ),
    'ERROR_SCHEDULER_OUT_OF_MEMORY': Explanation(
        'The job used more memory than it was allocated. If `memory_MB` is set, an exploration is submitted once more '
        'with more memory.',
        'Increase `memory_MB` in the resources, then run the same file again.',
    ),
    'ERROR_SCHEDULER_OUT_OF_WALLTIME': Explanation(
        'The scheduler ended the job at its time limit. An exploration continues from its last checkpoint.',
        'If this happens often, increase `max_wallclock_s` in the resources.',
    ),
    'ERROR_SCHEDULER_INVALID_ACCOUNT': Explanation(
        'The scheduler does not know the account.',
        'Correct `account` in the resources, then run the same file again.',
    ),
    'ERROR_SCHEDULER_NODE_FAILURE': Explanation(
        'The node of the job failed. The job is submitted again.',
        'If this happens often, exclude the node with `scheduler_lines` in the resources.',
    ),
    'STOPPED_BY_MONITOR': Explanation(
        'The job was stopped by a monitor that a user attached to it.',
        'Change the monitor, then submit the job again.',
    ),
    'ERROR_STASHING_FAILED': Explanation(
        "AiiDA could not copy the job's files to the folder given in its option `stash`.",
        'Check the folder and its free space, then submit the job again.',
    ),
    # Every job: the machine, the container and the program.
    'ERROR_IMAGE_MISSING': Explanation(
        'The container image does not exist or cannot be opened.',
        'Put the image at the path given in the message, or register the code again.',
    ),
    'ERROR_EXECUTABLE_MISSING': Explanation(
        'The program does not exist or is not executable, or its environment lacks this package.',
        'Correct the path of the code, or install this package in its environment.',
    ),
    'ERROR_WRONG_ARCHITECTURE': Explanation(
        'The program or the image was built for another processor architecture.',
        'Install or build it on a machine with the processor architecture of the nodes that run the jobs.',
    ),
    'ERROR_CONTAINER': Explanation(
        'The container engine could not start the image.',
        'Fix the cause given in its message, usually a folder that cannot be mounted.',
    ),
    'ERROR_DISK_FULL': Explanation(
        'The disk is full or the quota is exceeded. Frames that were already written are kept.',
        'Free up space on the computer, for example with `mlip-autopipe clean`, then run the same file again.',
    ),
    'ERROR_CANCELLED': Explanation(
        'The job was cancelled before its program started. It is submitted again, at most twice in a row.', RUN_AGAIN
    ),
    'ERROR_DEVICE_OUT_OF_MEMORY': Explanation(
        'The GPU ran out of memory. A restart would not help.',
        'Use smaller seeds, a larger GPU or fewer jobs per GPU.',
    ),
    # Jobs with a calculator: their files.
    'ERROR_RESULT_MISSING': Explanation(
        'The job left no result: it was killed early, or its folder was removed. It is submitted again, at most twice '
        'in a row.',
        'If this happens again, read the log with `verdi calcjob outputcat PK` and the scheduler output.',
    ),
    'ERROR_RESULT_UNREADABLE': Explanation(
        'The result is damaged or truncated. An exploration is submitted again, at most twice in a row.', CHECK_DISK
    ),
    'ERROR_TRAJECTORY_MISSING': Explanation(
        'The file with the frames or their descriptors is missing. An exploration is submitted again, at most twice in '
        'a row.',
        CHECK_DISK,
    ),
    'ERROR_TRAJECTORY_UNREADABLE': Explanation(
        'The file with the frames or their descriptors is damaged or truncated. An exploration is submitted again, at '
        'most twice in a row.',
        CHECK_DISK,
    ),
    'ERROR_CHECKPOINT_UNREADABLE': Explanation(
        'The checkpoint is damaged, truncated or missing. The leg of an exploration is discarded and submitted again, '
        'at most twice in a row.',
        CHECK_DISK,
    ),
    'RecoverCalculation.ERROR_CHECKPOINT_UNREADABLE': Explanation(
        'The checkpoint that the killed job left is damaged, truncated or missing. The leg is computed again.',
        'Check the disk of the computer if this happens often.',
    ),
    # Jobs with a calculator: what they need before they compute.
    'ERROR_CONTRACT_VERSION': Explanation(
        'The version of this package in the environment of the code differs from the one that submitted the job.',
        'Install the same version here and in the environment of the code, then repeat the self-test of the code.',
    ),
    'ERROR_SETTINGS_REFUSED': Explanation(
        'The settings are unsuitable for the seed, or for the version of this package in the environment of the code.',
        'Correct the setting named in the message.',
    ),
    'ERROR_CALCULATOR_MISSING': Explanation(
        'The package of the calculator cannot be imported.',
        'Install it in the environment of the code, then repeat the self-test of the code.',
    ),
    'ERROR_MODEL_NOT_LOADED': Explanation(
        'The calculator cannot load the model.',
        'Check that the file is complete and that it is a model for this calculator and this version of its package.',
    ),
    'ERROR_MODEL_MISMATCH': Explanation(
        'The file of the model or of the image was replaced: its sha256 is not the expected one.',
        'Restore the file. To use the new one, place it as a new model or register a new code.',
    ),
    'ERROR_ELEMENT_UNSUPPORTED': Explanation(
        'The calculator does not support an element of the seed.',
        'Choose a model that supports this element, or remove the element from `generation`.',
    ),
    'ERROR_ENVIRONMENT_CHANGED': Explanation(
        'The packages, the device or the number of threads of the job differ from those recorded for the code.',
        'Repeat the self-test of the code, which records the current environment, then run the same file again.',
    ),
    'ERROR_MODEL_MISSING': Explanation(
        'The model file was removed from the computer.',
        'Run the same file again, which restores the model if its content is stored. Otherwise, place it again with '
        '`mlip-autopipe calculator place`.',
    ),
    'ERROR_RUNNER_RAISED': Explanation(
        'An unexpected error ended the job. Frames that were already written are kept.',
        'Read the log with `verdi calcjob outputcat PK`. Report the error unless its cause is clear.',
    ),
    # Jobs with a calculator: how they ended.
    'ERROR_OUT_OF_WALLTIME': Explanation(
        'The job was stopped before it finished, usually by its time limit.',
        'Increase `max_wallclock_s` in the resources, then run the same file again.',
    ),
    'ExplorationCalculation.ERROR_OUT_OF_WALLTIME': Explanation(
        'The job was stopped before its last step, usually by its time limit. It wrote a checkpoint.', _NEXT_LEG
    ),
    'RecoverCalculation.ERROR_OUT_OF_WALLTIME': Explanation(
        'The killed job had stopped before its last step, and had written a checkpoint.', _NEXT_LEG
    ),
    'ERROR_KILLED': Explanation('The job was killed. Its frames up to the last checkpoint are kept.', _NEXT_LEG),
    'ERROR_UNSTABLE': Explanation(
        'A guard stopped an unstable run, and no recoveries are left. The good frames are candidates for the dataset.',
        'For longer runs, reduce the temperature or the time step, or allow more recoveries.',
    ),
    'ExplorationCalculation.ERROR_UNSTABLE': Explanation(
        'A guard stopped an unstable run. The good frames are candidates for the dataset.',
        'No action is needed while recoveries are left: the next leg continues from the last good frame.',
    ),
    'RecoverCalculation.ERROR_UNSTABLE': Explanation(
        'A guard had stopped the run before its job was killed. The good frames are candidates for the dataset.',
        'No action is needed while recoveries are left: the next leg continues from the last good frame.',
    ),
    'ERROR_NO_FRAME': Explanation(
        'The run was unstable from the first step, so it has no good frames.',
        'Check the seed: its atoms may be too close, or the model may not support it.',
    ),
    'EvaluationCalculation.ERROR_NO_FRAME': Explanation(
        'The calculator of the committee could not evaluate any frame.',
        'Use a committee with a calculator that supports these structures.',
    ),
    'LabellingCalculation.ERROR_OUT_OF_WALLTIME': Explanation(
        'The job was stopped before its last structure, usually by its time limit. The finished labels are kept.',
        'No action is needed: another job computes the remaining structures.',
    ),
    'LabellingCalculation.ERROR_KILLED': Explanation(
        'The job was killed. The labels that it had finished are kept.',
        'No action is needed: another job computes the remaining structures.',
    ),
    'LabellingCalculation.ERROR_NO_FRAME': Explanation(
        'No structure of the job could be labelled.',
        'Check the settings of the labeller for these structures. The labels node has the reason for each structure.',
    ),
    # The recovery of files from the folder of a killed job.
    'RecoverCalculation.ERROR_RESULT_MISSING': NO_FOLDER,
    'RecoverCalculation.ERROR_RESULT_UNREADABLE': NOT_RECOVERED,
    'RecoverCalculation.ERROR_TRAJECTORY_UNREADABLE': NOT_RECOVERED,
    'RecoverLabelsCalculation.ERROR_RESULT_MISSING': NO_FOLDER,
    'RecoverLabelsCalculation.ERROR_RESULT_UNREADABLE': NOT_RECOVERED,
    'RecoverLabelsCalculation.ERROR_TRAJECTORY_UNREADABLE': NOT_RECOVERED,
    'AssessmentCalculation.ERROR_OUT_OF_WALLTIME': UNFINISHED,
    'AssessmentCalculation.ERROR_KILLED': UNFINISHED,
    'TrainingCalculation.ERROR_OUT_OF_WALLTIME': Explanation(
        'The job was stopped before its last epoch, usually by its time limit. It wrote a checkpoint.',
        'No action is needed: the next job continues from the checkpoint.',
    ),
    'TrainingCalculation.ERROR_KILLED': Explanation('The job was killed.', 'No action is needed: it is continued.'),
    'TrainingWorkChain.ERROR_NO_PROGRESS': Explanation('A job completed no epoch.', 'Increase `max_wallclock_s`.'),
    'ERROR_REPLAY': Explanation('Too few structures can be made for replay.', 'Set `training.replay_file`.'),
    'ERROR_TRAINING_FAILED': Explanation('The trainer failed, or it cannot run.', "Read the job's `trainer.log`."),
    'ERROR_SAMPLING': Explanation(
        'No frames can be selected with these settings.',
        'Correct the setting named in the message, then run the same file again: only the selection is repeated.',
    ),
    'ERROR_SELECTION_UNREADABLE': Explanation(
        'The files of the selection are missing, damaged or truncated.', CHECK_DISK
    ),
    # The self-test of a code.
    'ERROR_REPORT_UNREADABLE': Explanation(
        'The self-test left no report: its program did not start or was killed.',
        'Correct the error in the last line of the log, then repeat the self-test.',
    ),
    'ERROR_SELF_TEST_FAILED': Explanation(
        'The calculator does not run with this code.',
        'Fix the cause given in the message, then repeat the self-test with `mlip-autopipe calculator test`.',
    ),
    # The copy of a full trajectory.
    'ERROR_REPORT_MISSING': Explanation(
        'The job that copies a full trajectory left no report. The original is kept, and the dataset is not affected.',
        RUN_AGAIN,
    ),
    'ERROR_ORIGINAL': Explanation(
        'The full trajectory was removed or changed after its job ended. The dataset is not affected.',
        'Do not change or remove the folder of a job before its copy is made. To compute this trajectory again, run '
        'with `reuse_finished: false`.',
    ),
    'ERROR_FOLDER': Explanation(
        'The folder for the copies is not writable. The original is kept, and the dataset is not affected.',
        'Correct the folder, or free up space there, then run the same file again.',
    ),
    'ERROR_COPY': Explanation(
        'The copy differs from the original. The original is kept, and the dataset is not affected.',
        'Check the disk of the folder, then run the same file again.',
    ),
    # Explorations.
    'ERROR_SUB_PROCESS_EXCEPTED': Explanation('AiiDA ended a job with an exception.', REPORT_BUG),
    'ERROR_SUB_PROCESS_KILLED': Explanation(
        'A job was killed through AiiDA.',
        'Run `mlip-autopipe resume`. It continues an exploration from the last checkpoint, and a training run from the '
        'last job that AiiDA retrieved.',
    ),
    'ERROR_MAXIMUM_ITERATIONS_EXCEEDED': Explanation(
        'More jobs are needed than allowed. The frames of an exploration are candidates for the dataset.',
        'Increase `execution.max_legs` (for training, `training.max_jobs`) or `max_wallclock_s`, then run it again.',
    ),
    'ERROR_UNHANDLED_FAILURE': Explanation(
        'A job failed, and a restart would not fix the cause.',
        'Look up the exit code of the last job on this page; `mlip-autopipe status` shows it.',
    ),
    'ERROR_NO_PROGRESS': Explanation(
        'A leg reached its time limit before it completed a step.',
        'Increase `max_wallclock_s`, use more cores or a GPU, or generate smaller seeds.',
    ),
    'ERROR_OUT_OF_MEMORY': Explanation(
        'The job ran out of memory. If `retry_memory_factor` allows a retry, the retry with more memory also failed.',
        'Increase `memory_MB` in the resources, then run the same file again.',
    ),
    'ERROR_STOPPED': Explanation(
        'A user stopped the campaign. Checkpoints and finished results are kept.',
        'Continue it with `mlip-autopipe resume`.',
    ),
    'ERROR_JOBS_LOST': Explanation(
        'Three jobs in a row were cancelled, were killed before their first checkpoint, or lost their folder.',
        'Find the cause in the scheduler output, or ask the administrators, then run the same file again.',
    ),
    'ERROR_FILES_UNREADABLE': Explanation('Three jobs in a row left damaged files.', CHECK_DISK),
    'ProcessLabellingWorkChain.ERROR_KILLED': Explanation(
        'The process that labels a structure was killed or raised an exception.',
        'See its report: `verdi process report`. A structure without a label is computed in the next run.',
    ),
    'ERROR_ISOLATED_ATOM': Explanation(
        'The energy of an isolated atom could not be computed.',
        'Correct the settings that the message names, or set `labelling.isolated_atoms: false`.',
    ),
    # Descriptors and campaigns.
    'ERROR_DESCRIPTORS': Explanation(
        'The descriptors of some frames could not be computed.',
        'Fix the cause given in the message, then run the same file again: only the missing descriptors are computed.',
    ),
    'ERROR_GENERATION': Explanation(
        'The seeds cannot be generated.',
        'Correct the entry named in the message. `mlip-autopipe generate` makes the seeds without running a campaign.',
    ),
    'ERROR_REFERENCE_DATASET': Explanation(
        'The environments of `exploration.novelty.reference_dataset` cannot be computed, the quantile of their '
        'distances is zero because of duplicate structures, or the limit of the novelty does not exceed the threshold.',
        'Correct the setting or the dataset named in the message, then run the same file again.',
    ),
    'ERROR_TOO_FEW_EXPLORATIONS': Explanation(
        'Fewer explorations succeeded than `execution.min_success_fraction` requires.',
        'Fix the causes that `mlip-autopipe status` lists, or lower the fraction, then run the same file again.',
    ),
    'ERROR_NO_FRAMES': Explanation(
        'No exploration produced a good frame.',
        'Fix the causes that `mlip-autopipe status` lists, then run the same file again.',
    ),
    'ERROR_RANDOM_SHARE': Explanation(
        'No frames can be drawn at random for a round, because there are too few groups of seeds.',
        'Request seeds from more parents, then run the changed file: unchanged seeds are not explored again.',
    ),
    'ERROR_ROUND': Explanation('A round failed. Its campaign keeps the earlier ones.', RUN_AGAIN),
    'ERROR_LABELLING': Explanation(
        'The selected structures could not be labelled with the reference method. Labels that were computed are kept.',
        'Fix the cause given in the message, then run the same file again: only missing labels are computed.',
    ),
    'ERROR_JOB': Explanation(
        'A labelling job failed for a reason unrelated to its structures. Labels that were computed are kept.',
        'Fix the cause given in the message, then run the same command again: only missing labels are computed.',
    ),
    'ERROR_NO_LABELS': Explanation(
        'No structure has a label, or the labelled dataset cannot be written.',
        'Fix the cause given in the message, then run the same command again: only missing labels are computed.',
    ),
    'ERROR_LEVEL': Explanation(
        'A labelling job computed labels at a level of theory that differs from that of the settings.',
        'Record the environment again with `mlip-autopipe calculator test`, then run the same command again.',
    ),
    'ERROR_EXPORT': Explanation(
        'The dataset cannot be written.',
        'Fix the cause given in the message, usually a full disk, then run the same file again.',
    ),
}


def explain(process: str, label: str) -> Explanation:
    """Return the explanation of an exit code.

    Parameters
    ----------
    process
        Name of the process class, such as ``ExplorationCalculation``.
    label
        Label of the exit code, such as ``ERROR_KILLED``.
    """
    specific = filter(None, (EXPLANATIONS.get(f'{name}.{label}') for name in (process, RECOVERS.get(process, process))))
    return next(specific, None) or EXPLANATIONS[label]
