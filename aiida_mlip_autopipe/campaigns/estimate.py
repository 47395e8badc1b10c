"""Estimate the cost of a campaign before it is submitted."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aiida_mlip_autopipe.campaigns.rounds.plan import RoundsPlan, plan_rounds
from aiida_mlip_autopipe.config import CampaignConfig, ask_databases
from aiida_mlip_autopipe.config.checks.seeds import SeedCheck, check_seeds
from aiida_mlip_autopipe.config.checks.warnings import campaign_warnings
from aiida_mlip_autopipe.config.summary import CHECK_TIME_S
from aiida_mlip_autopipe.generation import generate_seeds
from aiida_mlip_autopipe.labelling.cost import Cost
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.workflows.inputs.codes import committee_code, job_codes, max_concurrent_jobs
from aiida_mlip_autopipe.workflows.inputs.environments import Environments
from aiida_mlip_autopipe.workflows.inputs.labelling import labelling_inputs, refuse_other_levels
from aiida_mlip_autopipe.workflows.inputs.reference import reference_dataset, sets_of_reference

# Milliseconds per force call and atom on one thread of a 2024 server core, float32, measured in cells of 32 to 64
# atoms. A GPU is one to two orders of magnitude faster.
MS_PER_ATOM = {'emt': 0.09, 'lj': 0.05, 'sevennet': 11.0, 'mace': 6.0, 'chgnet': 3.0}
# Overhead of a job: AiiDA, importing PyTorch, loading the model.
JOB_OVERHEAD_S = {'emt': 4.0, 'lj': 4.0, 'sevennet': 18.0, 'mace': 18.0, 'chgnet': 18.0}
# Positions, forces and momenta of one atom in a stored frame, in float64.
BYTES_PER_ATOM = 72
SAMPLE = 20


@dataclass(frozen=True)
class Estimate:
    """The expected size and cost of a campaign.

    Attributes
    ----------
    n_seeds, n_jobs
        The number of seeds, and the number of jobs if no exploration needs a second leg.
    mean_atoms
        Mean number of atoms of the first seeds.
    force_calls, n_frames
        Maximum total numbers of calculator evaluations and of stored frames.
    n_always_selected
        Maximum number of these frames that are selected in addition to ``n_structures``.
    n_labels
        Maximum number of structures that a reference method labels; None without one.
    wall_s
        Time in seconds to the end, on CPUs; None if the speed of a calculator is unknown.
    disk_MB
        Size of the stored frames.
    """

    n_seeds: int
    n_jobs: int
    mean_atoms: float
    force_calls: int
    n_frames: int
    n_always_selected: int
    n_labels: int | None
    wall_s: float | None
    disk_MB: float


@dataclass(frozen=True)
class Plan:
    """What a campaign would do if it were submitted.

    Attributes
    ----------
    name
        The name of the campaign.
    codes
        The codes of the explorations, as ``label@computer``.
    concurrent_jobs
        Maximum number of concurrent jobs.
    n_structures
        Number of frames to select; a maximum if ``reaches_coverage``.
    reaches_coverage
        Whether the selection stops when it reaches a coverage score.
    level
        The level of theory of the labels of a reference method; None without one.
    labels_cost
        The cost of these labels and of isolated atoms, predicted for structures like the first seeds, and at most the
        budget; None if it cannot be predicted.
    estimate
        The expected cost, without the labels of a reference method.
    warnings
        The warnings about seeds, sets and labels; see `campaign_warnings`.
    rounds
        The expected size of the rounds; None without rounds. The estimate is that of the first round.
    """

    name: str
    codes: tuple[str, ...]
    concurrent_jobs: int
    n_structures: int
    reaches_coverage: bool
    level: LevelOfTheory | None
    labels_cost: Cost | None
    estimate: Estimate
    warnings: tuple[str, ...]
    rounds: RoundsPlan | None


def plan_campaign(config: CampaignConfig) -> Plan:
    """Return what a campaign would do. The first seeds are made, but nothing is submitted.

    Raises
    ------
    AutopipeError
        If a code does not exist or lacks its model, a database query fails, the reference dataset is not available, or
        a seed cannot be made.
    """
    codes = job_codes(config)
    # Called only to raise an error if the code cannot be used.
    committee_code(config)
    concurrent_jobs = max_concurrent_jobs(config.execution, codes)
    config = ask_databases(config)
    checked = check_seeds(config, time_s=CHECK_TIME_S)
    estimate = estimate_campaign(config, concurrent_jobs)
    level, labels_cost = _labels(config, checked, estimate.n_labels)
    known_sets = sets_of_reference(config.sampling.reference_dataset)
    return Plan(
        name=config.name,
        codes=tuple(one.code.full_label for one in codes),
        concurrent_jobs=concurrent_jobs,
        n_structures=config.sampling.n_structures,
        reaches_coverage=config.sampling.coverage_target is not None,
        level=level,
        labels_cost=labels_cost,
        estimate=estimate,
        warnings=campaign_warnings(config, checked, known_sets),
        rounds=plan_rounds(config, estimate.mean_atoms, MS_PER_ATOM),
    )


def _labels(
    config: CampaignConfig, checked: SeedCheck, n_labels: int | None
) -> tuple[LevelOfTheory | None, Cost | None]:
    """Return the level of theory and the cost of the reference method, after its code and the datasets were checked."""
    if config.labelling is None:
        return None, None
    seeds = [seed.atoms for seed in checked.seeds if seed is not None]
    labeller = labelling_inputs(config.labelling, config.execution, seeds, Environments())
    known = config.sampling.reference_dataset
    refuse_other_levels(labeller.level, None if known is None else reference_dataset(known, 'sampling'))
    return labeller.level, labeller.predict_cost_like(seeds, n_labels or 0, config.labelling)


def estimate_campaign(config: CampaignConfig, concurrent_jobs: int) -> Estimate:
    """Estimate a campaign from its config.

    All codes are assumed to explore the same number of seeds, as they do on average.

    Parameters
    ----------
    config
        The campaign.
    concurrent_jobs
        Maximum number of concurrent jobs of all codes together.
    """
    counts = config.count_seeds()
    n_seeds, n_frames = sum(counts), config.count_frames(counts)
    n_always = config.count_always_selected(counts)
    n_random = 0 if config.rounds is None else config.rounds.random_labels
    first = generate_seeds(
        config.generation,
        random_seed=config.random_seed,
        cutoff_A=config.cutoff_A,
        stop=min(n_seeds, SAMPLE),
    ).seeds
    mean_atoms = sum(len(seed.atoms) for seed in first) / len(first)
    total = 0.0
    for number, count in enumerate(counts):
        exploration = config.exploration_of(number)
        total += count * (exploration.n_force_calls + exploration.force_calls_per_atom * mean_atoms)
    calls = total / n_seeds
    exploring_s = [_job_s(calculator.kind, calls, mean_atoms) for calculator in config.calculators]
    known_s = [seconds for seconds in exploring_s if seconds is not None]
    seed_s = sum(known_s) / len(known_s) if len(known_s) == len(exploring_s) else None
    n_jobs = n_seeds
    committee = config.exploration.committee
    if committee is not None:
        committee_s = _job_s(committee.calculator.kind, n_frames / n_seeds, mean_atoms)
        seed_s = None if seed_s is None or committee_s is None else seed_s + committee_s
        calls += n_frames / n_seeds
        n_jobs += n_seeds
    return Estimate(
        n_seeds=n_seeds,
        n_jobs=n_jobs,
        mean_atoms=mean_atoms,
        force_calls=round(n_seeds * calls),
        n_frames=n_frames,
        n_always_selected=n_always,
        n_labels=None
        if config.labelling is None
        else min(n_frames, config.sampling.n_structures + n_random + n_always),
        wall_s=None if seed_s is None else seed_s * math.ceil(n_seeds / concurrent_jobs),
        disk_MB=n_frames * mean_atoms * BYTES_PER_ATOM / 1e6,
    )


def _job_s(kind: str, calls: float, n_atoms: float) -> float | None:
    """Return the seconds that a job takes; None for a calculator whose speed is unknown."""
    if kind not in MS_PER_ATOM:
        return None
    return calls * n_atoms * MS_PER_ATOM[kind] / 1000 + JOB_OVERHEAD_S[kind]
