"""What two jobs must have in common to be parts of one run."""

from __future__ import annotations

from typing import Any

from aiida_mlip_autopipe.calculators.base import CalculatorLoader
from aiida_mlip_autopipe.exploration.settings import ExplorationSettings
from aiida_mlip_autopipe.jobs.contract import Job
from aiida_mlip_autopipe.jobs.version import RUNNER_VERSION

# What may differ between the job that wrote a checkpoint and the one that goes on from it.
# The stages and their steps are compared as a schedule, up to the step of the checkpoint.
NOT_IDENTITY = {'checkpoint_interval', 'walltime_margin_s', 'rescue', 'guards', 'n_steps', 'stages'}
NOT_CALCULATOR_IDENTITY = {'model', 'model_sha256', 'device'}


def identify(
    job: Job, settings: ExplorationSettings, loader: CalculatorLoader, model_sha256: str | None
) -> dict[str, Any]:
    """Return what two jobs must have in common to be parts of one run, besides the schedule; JSON only.

    Where the job runs and how often it writes are left out.
    """
    return {
        'runner_version': RUNNER_VERSION,
        'seed_id': job.seeds[0].seed_id,
        'random_seed': job.seeds[0].random_seed,
        'exploration': settings.model_dump(mode='json', exclude=NOT_IDENTITY),
        'calculator': loader.settings.model_dump(mode='json', exclude=NOT_CALCULATOR_IDENTITY),
        'model_sha256': model_sha256,
    }
