"""Settings of where and how jobs run."""

from __future__ import annotations

from pydantic import Field

from aiida_mlip_autopipe.settings import Settings

# A seed takes two of the 200 slots of a daemon worker (its work chain and its job), the campaign one.
MAX_CONCURRENT_JOBS = 90


class ExecutionSettings(Settings):
    """Where and how the exploration jobs run."""

    code: str | None = None
    """AiiDA code, as ``label@computer``; by default the one that ``mlip-autopipe setup`` made for the calculator."""
    max_concurrent_jobs: int | None = Field(default=None, ge=1, le=MAX_CONCURRENT_JOBS)
    """Jobs in flight at most; by default as many as this machine's cores allow, and 50 behind a scheduler."""
    threads_per_job: int = Field(default=1, ge=1)
    """Cores of a job. Two jobs of one thread are faster than one of two."""
    num_machines: int = Field(default=1, ge=1)
    """Nodes of a job."""
    max_wallclock_s: int | None = Field(default=None, ge=1)
    """Wall time of a job in seconds; a job that reaches it is continued from its checkpoint. No limit by default
    on this machine, one hour behind a scheduler."""
    max_legs: int = Field(default=20, ge=1)
    """How often a job is submitted at most for one seed before it is given up."""
    max_memory_MB: int | None = Field(default=None, ge=1)
    """Memory of a job."""
    queue: str | None = None
    """Queue or partition."""
    account: str | None = None
    """Account to charge."""
    scheduler_lines: str = ''
    """Further lines for the head of the submission script."""
    min_success_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the seeds whose exploration must have succeeded; the campaign fails below it."""
    reuse_finished: bool = True
    """Take results of equal inputs from AiiDA's cache, so that the same file again costs nothing."""
