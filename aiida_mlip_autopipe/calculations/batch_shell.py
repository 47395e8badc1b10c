"""The part of a job's script before its program: it passes on Slurm's signal, and sets environment variables."""

from __future__ import annotations

import shlex

from aiida import orm

# Where Slurm tracks processes by cgroups, as clusters do, `scancel`, preemption and the time limit signal only the
# shell of the script. It would die of it at once, and the runner be killed before it has written its checkpoint. So the
# script runs itself once more, in a process group of its own, and passes the signal to all of that.
PASS_SIGNALS_ON = """\
if [ -z "${MLIP_AUTOPIPE_INNER:-}" ] && [ -f "$0" ]; then
    export MLIP_AUTOPIPE_INNER=1
    set -m
    bash "$0" &
    trap 'kill -TERM -- "-$!"' TERM
    wait "$!"
    status=$?
    # A wait that a signal ends has not waited.
    while kill -0 "$!" 2>/dev/null; do
        wait "$!"
        status=$?
    done
    exit "$status"
fi
# With a trap of its own the inner shell waits for the runner, which has the signal too.
trap : TERM"""

# Apptainer then brings the GPU's driver into the container, as by its option --nv.
GPU_INTO_CONTAINER = 'export APPTAINER_NV=1'
IF_GRANTED = 'if [ -n "${SLURM_JOB_GPUS:-}${CUDA_VISIBLE_DEVICES:-}" ]; then %s; fi'


def prepend_text(code: orm.AbstractCode, python_path: str, threads: int = 1, device: str | None = None) -> str:
    """Return the lines of a job's script that come before its program.

    They set environment variables that do not affect the results; as options of the job, AiiDA would hash them.

    Parameters
    ----------
    code
        What the job runs.
    python_path
        The user's own PYTHONPATH, for a job on this machine.
    threads
        Number of threads of the numerical libraries, which read it when they are loaded.
    device
        Where the job computes; None if the job chooses.
    """
    computer, lines = code.computer, []
    is_container = isinstance(code, orm.ContainerizedCode)
    if computer.transport_type == 'core.local':
        # AiiDA's daemon passes the packages of its own environment to its child processes, where they would precede
        # those of a calculator that has another environment.
        lines.append(f'export PYTHONPATH={shlex.quote(python_path)}')
        # AiiDA has put these lines earlier; they are repeated, so that their additions apply to the user's PYTHONPATH.
        lines += [] if is_container else [text for text in (computer.get_prepend_text(), code.prepend_text) if text]
    lines.append(f'export OMP_NUM_THREADS={threads}')
    if is_container:
        lines.append(GPU_INTO_CONTAINER if device == 'cuda' else IF_GRANTED % GPU_INTO_CONTAINER)
    if computer.scheduler_type == 'core.slurm':
        lines.append(PASS_SIGNALS_ON)
    return '\n'.join(lines)
