"""What a job gets and what it leaves: the file names and the two models that both sides import."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.jobs.environment import Environment

CONTRACT_VERSION = 5

JOB_FILE = 'job.json'
SEED_FILE = 'seed.traj'
RESULT_FILE = 'result.json'
TRAJECTORY_FILE = 'trajectory.traj'
FULL_TRAJECTORY_FILE = 'full_trajectory.frames'
START_FILE = 'start.npz'
CHECKPOINT_FILE = 'checkpoint.npz'
CRASH_FILE = 'crash/crash.traj'
EVALUATION_FILE = 'evaluation.traj'
STOP_FILE = 'stop'
MODEL_FOLDER = 'model'

IMAGE_VARIABLE = 'MLIP_AUTOPIPE_IMAGE_SHA256'
"""Environment variable by which the submission script tells a job the sha256 of its image."""

Outcome = Literal['completed', 'out_of_walltime', 'stopped', 'killed', 'unstable', 'no_frame', 'refused', 'failed']


class JobSeed(Settings):
    """One seed of a job."""

    seed_id: str
    """Hash of the seed's content."""
    structure: str = SEED_FILE
    """The file with the structure, in ASE's binary trajectory format."""
    random_seed: int = Field(ge=0)
    """Seeds the random stream of this exploration."""
    perturbed: bool = False
    """Whether the structure was strained or rattled on purpose; such a seed is not relaxed."""


class AnyJob(Settings):
    """What ``job.json`` says of every job."""

    contract_version: int = CONTRACT_VERSION
    """Version of this contract on the side that wrote the file."""
    environment: Environment
    """The environment that is expected; another one would give other numbers."""
    image_sha256: str | None = Field(default=None, pattern='^[0-9a-f]{64}$')
    """sha256 of the container image that is expected; None where there is no container."""
    max_wallclock_s: float | None = Field(default=None, gt=0)
    """Wall time that the scheduler grants, if it does, counted from the start of the job's process."""


class Job(AnyJob):
    """``job.json``: all that a job needs to know. It names its calculator and model; only the job loads them."""

    runner_version: str
    """Version of the science of the runner that is expected; another one would give other frames."""
    seeds: tuple[JobSeed, ...] = Field(min_length=1, max_length=1)
    """The seeds to explore; one for now."""
    calculator: dict[str, Any]
    """Settings of the calculator, with ``kind`` and, where it has a model file, ``model_sha256``."""
    exploration: dict[str, Any]
    """Settings of the exploration."""
    full_trajectory_interval: int | None = Field(default=None, ge=1)
    """Steps between the frames of the full trajectory, which stays in the job's folder; None for none."""
    rescues: int = Field(default=0, ge=0)
    """How often the run became unstable before. One more than the checkpoint's: it is taken up from its last good
    frame, cooler and with a smaller step as ``exploration.rescue`` says."""


class EvaluationJob(AnyJob):
    """``job.json`` of an evaluation: a second calculator looks at the frames of a trajectory."""

    evaluation_version: str
    """Version of the science of the evaluation that is expected."""
    seed_id: str
    """The seed that was explored."""
    trajectory: str = TRAJECTORY_FILE
    """The file with the frames, in ASE's binary trajectory format."""
    calculator: dict[str, Any]
    """Settings of the calculator, with ``kind`` and, where it has a model file, ``model_sha256``."""


class FullTrajectory(Settings):
    """The full trajectory of a leg as far as it is certain: what its file holds beyond is left from a killed job."""

    file: str = FULL_TRAJECTORY_FILE
    """Name of the file in the job's folder."""
    n_frames: int
    """Frames in it."""
    first_step: int
    """Absolute step of the first one."""
    last_step: int
    """Absolute step of the last one."""
    size_bytes: int
    """Length of the file up to there."""
    sha256: str
    """sha256 of that length."""


class Event(Settings):
    """Something that a person should know about a run."""

    step: int
    """The absolute step at which it happened."""
    rule: str
    """What noticed it, as ``temperature`` or ``not_finite``."""
    message: str
    """The sentence for the user, with value and limit."""


class Versions(Settings):
    """What the job ran with."""

    package: str
    """Version of this package."""
    python: str
    """Version of Python."""
    ase: str
    """Version of ASE."""
    calculator: str | None = None
    """Version of the calculator's package."""
    torch: str | None = None
    """Version of torch, where the calculator uses it."""


class Result(Settings):
    """``result.json``: written in every case, also on failure and on SIGTERM. A number that is not finite is null."""

    contract_version: int = CONTRACT_VERSION
    """Version of this contract on the side that ran."""
    outcome: Outcome
    """How the run ended. From the first checkpoint on it says ``killed`` until the run has ended: a process that is
    killed writes nothing any more."""
    message: str = ''
    """Why, as one sentence, unless it was completed."""
    code: Code | None = None
    """Why the job was refused, with the outcome ``refused``."""
    traceback: str | None = None
    """Where the runner raised, with the outcome ``failed``."""
    seed_id: str | None = None
    """The seed explored."""
    ensemble: str | None = None
    """The ensemble that was sampled."""
    ensemble_reason: str = ''
    """Why that ensemble was chosen."""
    first_step: int = 0
    """Absolute step this leg started from."""
    last_step: int = 0
    """Absolute step this leg reached."""
    n_frames: int = 0
    """Frames in this leg's trajectory file."""
    full_trajectory: FullTrajectory | None = None
    """The full trajectory that lies in the job's folder, where one was asked for and has a frame."""
    force_calls: int = 0
    """Evaluations of the calculator in this leg."""
    loop_s: float = 0.0
    """Wall time of the dynamics alone."""
    load_s: float = 0.0
    """Wall time of importing and loading the calculator."""
    timestep_fs: float | None = None
    """The time step that was used."""
    mean_temperature_K: float | None = None
    """Mean over the stored frames."""
    calculator_name: str = ''
    """Architecture of the calculator, as ``sevennet``."""
    model_name: str | None = None
    """Name of the model file or of the shipped weights."""
    model_sha256: str | None = None
    """sha256 of the model file that was loaded."""
    device: str = 'cpu'
    """Where the calculator ran."""
    threads: int | None = None
    """Threads that numerical libraries were given."""
    image_sha256: str | None = None
    """sha256 of the container image that the job ran in."""
    precision: str = 'float64'
    """Floating point type of the model."""
    environment: Environment | None = None
    """The environment that the job ran in."""
    versions: Versions | None = None
    """Versions of the software."""
    isolated_atom_energies_eV: dict[str, float] = Field(default_factory=dict)
    """Energy of one atom alone, in eV, of each element of the seed that the calculator gives one for."""
    events: tuple[Event, ...] = ()
    """What happened on the way."""
    statistics: dict[str, Any] = Field(default_factory=dict)
    """Further figures, as acceptance by move."""
