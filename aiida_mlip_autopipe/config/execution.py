"""Settings of where and how jobs run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, field_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.exploration import CALCULATORS, CalculatorSettings

# A seed takes two of the 200 slots of a daemon worker (its work chain and its job), the campaign one.
MAX_CONCURRENT_JOBS = 90

if TYPE_CHECKING:
    # The members of the union are known only when the registry is read.
    AnyCalculator = CalculatorSettings
else:
    AnyCalculator = CALCULATORS.settings_union()


class JobResources(Settings):
    """What a job asks the scheduler for."""

    nodes: int = Field(default=1, ge=1)
    """Nodes of a job; a job of this package uses one."""
    cpus_per_job: int = Field(default=1, ge=1)
    """Cores of a job, and so its threads. Two jobs of one thread are faster than one of two."""
    gpus_per_job: int = Field(default=0, ge=0)
    """GPUs of a job. On Slurm they are asked for; of another scheduler, ask for them by ``scheduler_lines``."""
    memory_MB: int | None = Field(default=None, ge=1)
    """Memory of a job on its node; by default what the scheduler gives."""
    max_wallclock_s: int | None = Field(default=None, ge=1)
    """Wall time of a job in seconds; a job that reaches it is continued from its checkpoint. No limit by default
    on this machine, one hour behind a scheduler."""
    queue: str | None = None
    """Queue or partition."""
    account: str | None = None
    """Account to charge."""
    scheduler_lines: str = ''
    """Further lines for the head of the submission script, as ``#SBATCH --constraint=a100``."""


def _absolute(folder: str) -> str:
    if not PurePosixPath(folder).is_absolute():
        raise fault(Code.WRONG_PATTERN, 'must be an absolute path on the computer where the jobs run, as /archive/me')
    return folder


class StashSettings(Settings):
    """Full trajectories are copied by jobs of their own, each when its exploration has been retrieved.

    The copy's sha256 must be the one that the exploration told. A copy that fails is told and fails nothing: the
    original stays in the folder of its job.
    """

    folder: Annotated[str, AfterValidator(_absolute)]
    """Folder on the computer where the jobs run, as ``/archive/me``. It is made where there is none, and gets
    ``seed_…/`` and in it a folder for each job of an exploration."""
    resources: JobResources | None = None
    """What a copy asks for; by default one core, in the queue and on the account of the exploration."""


class CodeSettings(Settings):
    """One of several codes of a campaign."""

    code: str
    """AiiDA code, as ``label@computer``."""
    calculator: AnyCalculator | None = None
    """What this code runs; by default the campaign's ``calculator``."""
    resources: JobResources | None = None
    """What its jobs ask for, in place of what ``execution`` says for all codes."""
    stash: StashSettings | None = None
    """Where its full trajectories are copied to, in place of what ``execution`` says for all codes."""


class DescriptorJobSettings(Settings):
    """Jobs that describe the frames before they are selected, many trajectories a job, and the job that selects."""

    min_frames: int = Field(default=2000, ge=0)
    """From this number of frames on, jobs compute SOAP, of structures and of environments, and another job selects the
    frames. With fewer, AiiDA's daemon does both at once. Learned descriptors always need a job."""
    code: str | None = None
    """AiiDA code, as ``label@computer``; by default the first that explores. SOAP needs no calculator there."""
    resources: JobResources | None = None
    """What its jobs ask for, in place of what ``execution`` says for all codes."""


class ExecutionSettings(JobResources):
    """Where and how the exploration jobs run."""

    code: str | None = None
    """AiiDA code, as ``label@computer``; by default the one that ``mlip-autopipe setup`` made for the calculator."""
    codes: tuple[CodeSettings, ...] = ()
    """Several codes in place of one: each seed is explored by one of them, always the same. Where they run different
    calculators, each row says by ``label_source`` which of them labelled it."""
    descriptors: DescriptorJobSettings = DescriptorJobSettings()
    """Jobs that describe the frames; their results are kept, so that another selection takes seconds."""
    stash: StashSettings | None = None
    """Where full trajectories (``exploration.full_trajectory_interval``) are copied to; by default they stay in the
    folders of their jobs."""
    max_concurrent_jobs: int | None = Field(default=None, ge=1, le=MAX_CONCURRENT_JOBS)
    """Jobs in flight at most; by default as many as this machine's cores allow, and 50 behind a scheduler."""
    max_legs: int = Field(default=20, ge=1)
    """How often a job is submitted at most for one seed before it is given up."""
    retry_memory_factor: float = Field(default=2.0, ge=1)
    """A job that ran out of memory is submitted once more with ``memory_MB`` times this; 1 gives up at once."""
    min_success_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the seeds whose exploration must have succeeded; the campaign fails below it."""
    reuse_finished: bool = True
    """Take results of equal inputs from AiiDA's cache, so that the same file again costs nothing."""

    @field_validator('codes')
    @classmethod
    def _no_code_twice(cls, codes: Sequence[CodeSettings]) -> Sequence[CodeSettings]:
        seen = [(one.code, one.calculator) for one in codes]
        for number, one in enumerate(seen):
            if one in seen[:number]:
                raise fault(
                    Code.VALUES_EXCLUDE, f'must differ in code or calculator; {codes[number].code!r} stands there twice'
                )
        return codes

    def resources(self) -> JobResources:
        """Return what the jobs of a code without resources of its own ask for."""
        return JobResources(**{name: getattr(self, name) for name in JobResources.model_fields})
