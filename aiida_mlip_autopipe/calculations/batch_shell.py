"""The part of a job script that precedes the program: it sets environment variables and forwards Slurm's signal."""

from __future__ import annotations

import shlex

from aiida import orm

# On clusters, Slurm tracks processes by cgroups, and `scancel`, preemption and the time limit signal only the shell of
# the script. The shell would exit immediately, and Slurm would kill the runner before it could write its checkpoint.
# The script therefore runs itself again in a separate process group and forwards the signal to that group.
FORWARD_SIGNAL = """\
if [ -z "${MLIP_AUTOPIPE_INNER:-}" ] && [ -f "$0" ]; then
    export MLIP_AUTOPIPE_INNER=1
    set -m
    bash "$0" &
    trap 'kill -TERM -- "-$!"' TERM
    wait "$!"
    status=$?
    # A signal interrupts `wait` before the child has ended.
    while kill -0 "$!" 2>/dev/null; do
        wait "$!"
        status=$?
    done
    exit "$status"
fi
# The trap makes the inner shell wait for the runner, which receives the signal too.
trap : TERM"""

# Makes Apptainer bind the GPU driver into the container, as its option --nv does.
GPU_INTO_CONTAINER = 'export APPTAINER_NV=1'
IF_ALLOCATED = 'if [ -n "${SLURM_JOB_GPUS:-}${CUDA_VISIBLE_DEVICES:-}" ]; then %s; fi'


def prepend_text(code: orm.AbstractCode, python_path: str, threads: int = 1, device: str | None = None) -> str:
    """Return the lines of a job script that come before the program.

    They set environment variables that do not affect the results. If these were options of the job, AiiDA would hash
    them.

    Parameters
    ----------
    code
        The code that the job runs.
    python_path
        The user's PYTHONPATH, for a job on this machine.
    threads
        Number of threads of the numerical libraries, which read it on import.
    device
        The device of the job; None if the job chooses it.
    """
    computer, lines = code.computer, []
    is_container = isinstance(code, orm.ContainerizedCode)
    if computer.transport_type == 'core.local':
        # A job inherits the PYTHONPATH of the daemon. Its packages would take precedence over those of a calculator in
        # another environment.
        lines.append(f'export PYTHONPATH={shlex.quote(python_path)}')
        # AiiDA has already written these lines. They are repeated here so that they extend the user's PYTHONPATH.
        lines += [] if is_container else [text for text in (computer.get_prepend_text(), code.prepend_text) if text]
    lines.append(f'export OMP_NUM_THREADS={threads}')
    if is_container:
        lines.append(GPU_INTO_CONTAINER if device == 'cuda' else IF_ALLOCATED % GPU_INTO_CONTAINER)
    if computer.scheduler_type == 'core.slurm':
        lines.append(FORWARD_SIGNAL)
    return '\n'.join(lines)
