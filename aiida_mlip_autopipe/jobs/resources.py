"""The resources that a job requests from the scheduler."""

from __future__ import annotations

from pydantic import Field

from aiida_mlip_autopipe.core.settings import Settings


class JobResources(Settings):
    """The resources that a job requests from the scheduler."""

    nodes: int = Field(default=1, ge=1)
    """Number of nodes. The jobs of this package use only one."""
    cpus_per_job: int = Field(default=1, ge=1)
    """Number of cores, and of threads. Two jobs with one thread each are faster than one job with two threads."""
    gpus_per_job: int = Field(default=0, ge=0)
    """Number of GPUs. They are requested only from Slurm. With other schedulers, use ``scheduler_lines``."""
    memory_MB: int | None = Field(default=None, ge=1)
    """Memory in MB on the node; if omitted, the scheduler uses its default."""
    max_wallclock_s: int | None = Field(default=None, ge=1)
    """Wall-time limit in seconds. A job that reaches it is continued from its checkpoint. By default, jobs on this
    machine have no limit, and jobs with a scheduler have a limit of one hour."""
    queue: str | None = None
    """Queue or partition of the scheduler."""
    account: str | None = None
    """Account to charge in the scheduler."""
    scheduler_lines: str = ''
    """Further lines for the header of the submission script, such as ``#SBATCH --constraint=a100``."""
