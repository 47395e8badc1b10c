"""What a campaign will cost, before anything is started."""

from __future__ import annotations

from dataclasses import dataclass

from aiida_mlip_autopipe.config import CampaignConfig
from aiida_mlip_autopipe.generation import generate_seeds

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
        Evaluations of the calculators and frames stored, in all, at most.
    wall_s
        Seconds until the end on the CPU; None for a calculator whose speed is not known.
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


def estimate_campaign(config: CampaignConfig, concurrent_jobs: int) -> Estimate:
    """Estimate a campaign from its config.

    Parameters
    ----------
    config
        The campaign.
    concurrent_jobs
        Jobs in flight.
    """
    n_seeds, n_frames, exploration = config.n_seeds, config.n_frames, config.exploration
    first = generate_seeds(
        config.generation,
        random_seed=config.random_seed,
        cutoff_A=config.cutoff_A,
        stop=min(n_seeds, SAMPLE),
    ).seeds
    mean_atoms = sum(len(seed.atoms) for seed in first) / len(first)
    jobs = [(config.calculator.kind, exploration.n_force_calls)]
    if exploration.committee is not None:
        jobs.append((exploration.committee.calculator.kind, exploration.n_frames))
    wall_s = None
    if all(kind in MS_PER_ATOM for kind, _ in jobs):
        seed_s = sum(calls * mean_atoms * MS_PER_ATOM[kind] / 1000 + JOB_OVERHEAD_S[kind] for kind, calls in jobs)
        wall_s = seed_s * -(-n_seeds // concurrent_jobs)
    return Estimate(
        n_seeds=n_seeds,
        n_jobs=n_seeds * len(jobs),
        mean_atoms=mean_atoms,
        force_calls=n_seeds * sum(calls for _, calls in jobs),
        n_frames=n_frames,
        wall_s=wall_s,
        disk_MB=n_frames * mean_atoms * BYTES_PER_ATOM / 1e6,
    )
