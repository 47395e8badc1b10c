"""The exit codes of work chains."""

from __future__ import annotations

from aiida_mlip_autopipe.core.exit_codes.explanation import CHECK_DISK, REPORT_BUG, RUN_AGAIN, Explanation

OF_WORK_CHAINS = {
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
    'ERROR_ROUND': Explanation('A round failed. The results of the earlier rounds are kept.', RUN_AGAIN),
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
