"""What a campaign will cost, before anything is started."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aiida_mlip_autopipe.config import CampaignConfig, ask_databases
from aiida_mlip_autopipe.generation import generate_seeds
from aiida_mlip_autopipe.workflows.inputs.codes import committee_code, job_codes, max_concurrent_jobs

# Milliseconds for the forces on one atom, one thread of a 2024 server core, float32 (measured in cells of 32 to 64
# atoms). A graphics card is one to two orders of magnitude faster.
MS_PER_ATOM = {'emt': 0.09, 'lj': 0.05, 'sevennet': 11.0, 'mace': 6.0, 'chgnet': 3.0}
# Engine and start-up of a job: AiiDA's own work, importing PyTorch, loading the model.
JOB_OVERHEAD_S = {'emt': 4.0, 'lj': 4.0, 'sevennet': 18.0, 'mace': 18.0, 'chgnet': 18.0}
# Positions, forces and momenta of an atom in a stored frame.
BYTES_PER_ATOM = 72
SAMPLE = 20


@dataclass(frozen=True)
class Estimate:
    """What a campaign will run.

    Attributes
    ----------
    n_seeds, n_jobs
        Seeds, and jobs if none needs a second leg.
    mean_atoms
        Atoms of a seed, the mean of the first few.
    force_calls, n_frames
        Maximum total number of calculator evaluations and of frames stored.
    wall_s
        Seconds until the end, on CPUs; None if the speed of a calculator is unknown.
    disk_MB
        What the frames take.
    """

    n_seeds: int
    n_jobs: int
    mean_atoms: float
    force_calls: int
    n_frames: int
    wall_s: float | None
    disk_MB: float


@dataclass(frozen=True)
class Plan:
    """What a campaign would do if it were submitted.

    Attributes
    ----------
    name
        The campaign.
    codes
        The codes that explore, as ``label@computer``.
    concurrent_jobs
        Jobs in flight at most.
    n_structures
        Number of frames to select; the maximum if ``reaches_coverage``.
    reaches_coverage
        Whether the selection stops at a coverage score.
    estimate
        The expected cost.
    """

    name: str
    codes: tuple[str, ...]
    concurrent_jobs: int
    n_structures: int
    reaches_coverage: bool
    estimate: Estimate


def plan_campaign(config: CampaignConfig) -> Plan:
    """Return what a campaign would do. Its first seeds are made, but nothing is submitted.

    Raises
    ------
    AutopipeError
        If a code does not exist or lacks its model, a query to a database has no answer, or a seed cannot be made.
    """
    codes = job_codes(config)
    # Only looked up, so that an error in it is found.
    committee_code(config)
    concurrent_jobs = max_concurrent_jobs(config.execution, codes)
    return Plan(
        name=config.name,
        codes=tuple(one.code.full_label for one in codes),
        concurrent_jobs=concurrent_jobs,
        n_structures=config.sampling.n_structures,
        reaches_coverage=config.sampling.coverage_target is not None,
        estimate=estimate_campaign(ask_databases(config), concurrent_jobs),
    )


def estimate_campaign(config: CampaignConfig, concurrent_jobs: int) -> Estimate:
    """Estimate a campaign from its config.

    Several codes are assumed to explore the same number of seeds each, which they do on average.

    Parameters
    ----------
    config
        The campaign.
    concurrent_jobs
        Jobs in flight, of all codes together.
    """
    n_seeds, exploration = config.n_seeds, config.exploration
    first = generate_seeds(
        config.generation,
        random_seed=config.random_seed,
        cutoff_A=config.cutoff_A,
        stop=min(n_seeds, SAMPLE),
    ).seeds
    mean_atoms = sum(len(seed.atoms) for seed in first) / len(first)
    calls = exploration.n_force_calls
    exploring_s = [_job_s(calculator.kind, calls, mean_atoms) for calculator in config.calculators]
    known_s = [one for one in exploring_s if one is not None]
    seed_s = sum(known_s) / len(known_s) if len(known_s) == len(exploring_s) else None
    n_jobs = n_seeds
    if exploration.committee is not None:
        looking_s = _job_s(exploration.committee.calculator.kind, exploration.n_frames, mean_atoms)
        seed_s = None if seed_s is None or looking_s is None else seed_s + looking_s
        calls += exploration.n_frames
        n_jobs += n_seeds
    return Estimate(
        n_seeds=n_seeds,
        n_jobs=n_jobs,
        mean_atoms=mean_atoms,
        force_calls=n_seeds * calls,
        n_frames=config.n_frames,
        wall_s=None if seed_s is None else seed_s * math.ceil(n_seeds / concurrent_jobs),
        disk_MB=config.n_frames * mean_atoms * BYTES_PER_ATOM / 1e6,
    )


def _job_s(kind: str, calls: int, n_atoms: float) -> float | None:
    """Return the seconds that a job takes; None for a calculator whose speed is unknown."""
    if kind not in MS_PER_ATOM:
        return None
    return calls * n_atoms * MS_PER_ATOM[kind] / 1000 + JOB_OVERHEAD_S[kind]
