"""The exit codes of jobs."""

from __future__ import annotations

from aiida_mlip_autopipe.core.exit_codes.explanation import (
    CHECK_DISK,
    NEXT_LEG,
    NO_FOLDER,
    NOT_RECOVERED,
    RUN_AGAIN,
    UNFINISHED,
    Explanation,
)

OF_JOBS = {
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
        'The compute node that ran the job failed. The job is submitted again.',
        'If this happens often, exclude this compute node with `scheduler_lines` in the resources.',
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
        'The job was stopped before its last step, usually by its time limit. It wrote a checkpoint.', NEXT_LEG
    ),
    'RecoverCalculation.ERROR_OUT_OF_WALLTIME': Explanation(
        'The killed job had stopped before its last step, and had written a checkpoint.', NEXT_LEG
    ),
    'ERROR_KILLED': Explanation('The job was killed. Its frames up to the last checkpoint are kept.', NEXT_LEG),
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
    'TrainingCalculation.ERROR_KILLED': Explanation('The job was killed.', 'No action is needed: another job follows.'),
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
}
