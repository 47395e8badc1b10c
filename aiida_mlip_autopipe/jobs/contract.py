"""The files of a job: their names, and the models of ``job.json`` and ``result.json``.

Both the submitting side and the job import this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.reading.json_text import parse_json
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.jobs.environment import Environment

CONTRACT_VERSION = 7

JOB_FILE = 'job.json'
SEED_FILE = 'seed.traj'
RESULT_FILE = 'result.json'
TRAJECTORY_FILE = 'trajectory.traj'
FULL_TRAJECTORY_FILE = 'full_trajectory.frames'
START_FILE = 'start.npz'
CHECKPOINT_FILE = 'checkpoint.npz'
REFERENCE_FILE = 'reference_environments.npz'
CRASH_FILE = 'crash/crash.traj'
STOP_FILE = 'stop'
MODEL_FOLDER = 'model'

IMAGE_VARIABLE = 'MLIP_AUTOPIPE_IMAGE_SHA256'
"""Environment variable in which the submission script passes the sha256 of the image to a job."""

Outcome = Literal['completed', 'out_of_walltime', 'stopped', 'killed', 'unstable', 'no_frame', 'refused', 'failed']


class JobSeed(Settings):
    """One seed of a job."""

    seed_id: str
    """Hash of the content of the seed."""
    structure: str = SEED_FILE
    """File with the structure, in ASE's binary trajectory format."""
    random_seed: int = Field(ge=0)
    """The random seed of this exploration."""
    perturbed: bool = False
    """Whether the structure was strained or rattled; if so, it is not relaxed."""
    form: Literal['slab', 'wire', 'cluster', 'molecule'] | None = None
    """Form of a generated structure with vacuum; None for a bulk structure, or if this is unknown."""
    molecular: bool = False
    """Whether the structure consists of molecules that were generated as such; the tags of the atoms number them."""
    amorphous: bool = False
    """Whether the structure or a part of it was generated as amorphous or liquid."""


class AnyJob(Settings):
    """Fields of ``job.json`` that all jobs have."""

    contract_version: int = CONTRACT_VERSION
    """Version of this contract in the package that wrote the file."""
    environment: Environment
    """The expected environment. A different one may give different results."""
    environment_may_differ: bool = False
    """Whether the job also runs in a different environment, which its result records. Otherwise it is refused. This is
    only set to compare the results of two environments."""
    image_sha256: str | None = Field(default=None, pattern='^[0-9a-f]{64}$')
    """sha256 of the expected container image; None without a container."""
    max_wallclock_s: float | None = Field(default=None, gt=0)
    """Allocated wall time in seconds, measured from the start of the process; None for no limit."""


class Job(AnyJob):
    """``job.json`` of an exploration. It names the calculator and the model, which only the job loads."""

    runner_version: str
    """Expected version of the program that the job runs. A different one may give different frames."""
    seeds: tuple[JobSeed, ...] = Field(min_length=1, max_length=1)
    """The seed to explore."""
    calculator: dict[str, Any]
    """Settings of the calculator, with ``kind`` and, if it has a model file, ``model_sha256``."""
    exploration: dict[str, Any]
    """Settings of the exploration."""
    full_trajectory_interval: int | None = Field(default=None, ge=1)
    """Steps between frames of the full trajectory, which remains in the folder of the job; None for no such file."""
    reference_sha256: str | None = Field(default=None, pattern='^[0-9a-f]{64}$')
    """sha256 of the file with the environments of the reference dataset; None without a reference dataset."""
    recoveries: int = Field(default=0, ge=0)
    """Number of recoveries of the run so far. If it exceeds the number in the checkpoint, the run resumes from its last
    good frame, with temperatures and time step reduced by the factors of ``exploration.recovery``."""
    until_step: int | None = Field(default=None, ge=0)
    """Absolute step at which the run is stopped with a checkpoint; None to run to the end. The frames up to this step
    are the same as those of the whole run."""


class FullTrajectory(Settings):
    """The valid part of the full trajectory of a leg. A killed job may have written further frames."""

    file: str = Field(default=FULL_TRAJECTORY_FILE, pattern=r'^\w[\w.-]*$')
    """Name of the file in the folder of the job. It is used in paths and shell commands."""
    n_frames: int
    """Number of frames."""
    first_step: int
    """Absolute step of the first frame."""
    last_step: int
    """Absolute step of the last frame."""
    size_bytes: int = Field(ge=0)
    """Size of this part of the file."""
    sha256: str = Field(pattern='^[0-9a-f]{64}$')
    """sha256 of this part of the file."""


class Event(Settings):
    """Something in a run that the user should know about."""

    step: int
    """Absolute step of the event."""
    rule: str
    """The rule that reported it, such as ``temperature`` or ``not_finite``."""
    message: str
    """The message for the user, with the value and the limit."""


class Versions(Settings):
    """Versions of the software of a job."""

    package: str
    """Version of this package."""
    python: str
    """Version of Python."""
    ase: str
    """Version of ASE."""
    calculator: str | None = None
    """Version of the package of the calculator."""
    torch: str | None = None
    """Version of torch, if it is installed."""


class Result(Settings):
    """``result.json``, which is written even after a failure or SIGTERM. Numbers that are not finite are null."""

    contract_version: int = CONTRACT_VERSION
    """Version of this contract in the package that ran the job."""
    outcome: Outcome
    """How the job ended. From the first checkpoint until the job ends it is ``killed``, because a killed process cannot
    write a result."""
    message: str = ''
    """The reason, unless the outcome is ``completed``."""
    code: Code | None = None
    """Code of the error, if the outcome is ``refused`` or a trainer failed."""
    traceback: str | None = None
    """Traceback of the error, if the outcome is ``failed``."""
    seed_id: str | None = Field(default=None, pattern=r'^[\w-]+$')
    """Identity of the seed, which is part of the path of a copy of the full trajectory."""
    ensemble: str | None = None
    """The sampled ensemble."""
    ensemble_reason: str = ''
    """Why this ensemble was chosen."""
    first_step: int = 0
    """Absolute step at which this leg started."""
    last_step: int = 0
    """Absolute step that this leg reached."""
    n_frames: int = Field(default=0, ge=0)
    """Number of frames in the trajectory file of this leg."""
    full_trajectory: FullTrajectory | None = None
    """The full trajectory in the folder of the job, if it was requested and has frames."""
    force_calls: int = 0
    """Number of evaluations of the calculator in this leg."""
    loop_s: float = 0.0
    """Wall time of the dynamics in seconds."""
    load_s: float = 0.0
    """Wall time in seconds for importing and loading the calculator."""
    timestep_fs: float | None = None
    """Time step in fs."""
    mean_temperature_K: float | None = None
    """Mean temperature of the stored frames in K."""
    calculator_name: str = ''
    """Kind of the calculator, such as ``sevennet``."""
    model_name: str | None = None
    """Name of the model file or shipped model."""
    model_sha256: str | None = None
    """sha256 of the model file."""
    device: str = 'cpu'
    """Device of the calculator."""
    threads: int | None = None
    """Number of threads of the numerical libraries."""
    processor: str | None = None
    """Architecture, vendor, family and model of the processor; None if the job was run by an earlier version. Numerical
    libraries choose their algorithms accordingly."""
    image_sha256: str | None = None
    """sha256 of the container image of the job."""
    precision: str = 'float64'
    """Floating-point type of the model."""
    environment: Environment | None = None
    """Environment record of the job."""
    versions: Versions | None = None
    """Versions of the software."""
    isolated_atom_energies_eV: dict[str, float] = Field(default_factory=dict)
    """Energy in eV of an isolated atom of each element of the seed for which the calculator can compute it."""
    events: tuple[Event, ...] = ()
    """Events during the run."""
    statistics: dict[str, Any] = Field(default_factory=dict)
    """Further statistics, such as the acceptance of each move."""


def read_result(data: bytes) -> Result:
    """Return the result in a ``result.json``.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    parse_json(data)
    return Result.model_validate_json(data)


def has_progressed(result: Mapping[str, Any]) -> bool:
    """Return whether a leg completed a step, or a part of a step that needs many evaluations.

    The first evaluation is that of the seed, which is repeated if the leg is run again.

    Parameters
    ----------
    result
        The fields of a `Result`.
    """
    return bool(result['last_step'] > result['first_step'] or result.get('force_calls', 0) > 1)
