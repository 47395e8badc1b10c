"""The resources that the scheduler has allocated to this job."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

# Environment variables with the number of cores of a task: Slurm, PBS Pro, Torque, Grid Engine, LSF.
CORE_VARIABLES = ('SLURM_CPUS_PER_TASK', 'NCPUS', 'PBS_NUM_PPN', 'NSLOTS', 'LSB_DJOB_NUMPROC')


def allocated_threads(environ: Mapping[str, str]) -> int:
    """Return the number of threads that numerical libraries may use.

    This is the number of cores that the scheduler has allocated. Without a scheduler, it is ``OMP_NUM_THREADS``, or one
    if that is not set. One thread makes results reproducible bit for bit. The number never exceeds that of the cores
    available to this process.

    Parameters
    ----------
    environ
        The environment variables of the job.
    """
    requested = next(
        (environ[name] for name in (*CORE_VARIABLES, 'OMP_NUM_THREADS') if environ.get(name, '').isdigit()), '1'
    )
    return max(1, min(int(requested), len(os.sched_getaffinity(0))))


def use_allocated_threads() -> None:
    """Restart the process if ``OMP_NUM_THREADS`` must change, because loaded libraries have already read it."""
    threads = str(allocated_threads(os.environ))
    if os.environ.get('OMP_NUM_THREADS') != threads:
        os.environ['OMP_NUM_THREADS'] = threads
        # The command-line arguments of this process are passed on unchanged.
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # nosec B606
