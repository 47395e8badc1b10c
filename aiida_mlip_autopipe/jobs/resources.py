"""The resources that a job requests from the scheduler."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import OneLine, fault
from aiida_mlip_autopipe.core.settings import Settings


def _check_lines(text: str) -> str:
    if not all(line.isprintable() for line in text.replace('\t', ' ').split('\n')):
        raise fault(Code.WRONG_PATTERN, 'must be lines of printable characters')
    return text


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
    queue: OneLine | None = None
    """Queue or partition of the scheduler."""
    account: OneLine | None = None
    """Account to charge in the scheduler."""
    scheduler_lines: Annotated[str, AfterValidator(_check_lines)] = ''
    """Further lines for the header of the submission script, such as ``#SBATCH --constraint=a100``."""
