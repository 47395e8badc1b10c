"""What the scheduler has granted to this job."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

# Cores of a task, as each scheduler tells them to a job: Slurm, PBS Pro, Torque, Grid Engine, LSF.
CORE_VARIABLES = ('SLURM_CPUS_PER_TASK', 'NCPUS', 'PBS_NUM_PPN', 'NSLOTS', 'LSB_DJOB_NUMPROC')


def granted_threads(environ: Mapping[str, str]) -> int:
    """Return how many threads numerical libraries may use.

    As many as the scheduler granted cores, and never more than this process may run on, however many the machine has.
    Without a scheduler what ``OMP_NUM_THREADS`` says; by default one, with which results are exact to the bit.

    Parameters
    ----------
    environ
        The environment of the job.
    """
    asked = next(
        (environ[name] for name in (*CORE_VARIABLES, 'OMP_NUM_THREADS') if environ.get(name, '').isdigit()), '1'
    )
    return max(1, min(int(asked), len(os.sched_getaffinity(0))))


def take_granted_threads() -> None:
    """Start over where the number of threads is not the one granted: libraries that read it are loaded already."""
    threads = str(granted_threads(os.environ))
    if os.environ.get('OMP_NUM_THREADS') != threads:
        os.environ['OMP_NUM_THREADS'] = threads
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
