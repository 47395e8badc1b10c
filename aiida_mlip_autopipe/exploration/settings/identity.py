"""The settings that must be the same in all jobs of a run."""

from __future__ import annotations

from typing import Any

from aiida_mlip_autopipe.calculators.base import CalculatorLoader
from aiida_mlip_autopipe.exploration.settings.job_settings import omit_added
from aiida_mlip_autopipe.exploration.settings.kinds import DEFAULT_KIND, AnyExploration, unset
from aiida_mlip_autopipe.jobs.contract import Job
from aiida_mlip_autopipe.jobs.version import RUNNER_VERSION

# Settings that may differ between the job that wrote a checkpoint and the job that continues from it.
# The phases and their steps are compared as a schedule, up to the step of the checkpoint.
MAY_DIFFER = {'checkpoint_interval', 'walltime_margin_s', 'recovery', 'guards', 'n_steps', 'phases'}
CALCULATOR_MAY_DIFFER = {'model', 'model_sha256', 'device'}


def identify(job: Job, settings: AnyExploration, loader: CalculatorLoader, model_sha256: str | None) -> dict[str, Any]:
    """Return the settings that must be the same in all jobs of a run, except the schedule, as JSON.

    Settings that determine only where a job runs or how often it writes files are omitted.
    """
    # Omitted, so that runs match those whose settings were written before the other kinds existed.
    omitted = MAY_DIFFER | unset(settings) | ({'kind'} if settings.kind == DEFAULT_KIND else set())
    reference = {} if job.reference_sha256 is None else {'reference_sha256': job.reference_sha256}
    calculator = loader.settings.model_dump(mode='json', exclude=CALCULATOR_MAY_DIFFER)
    for member in calculator.get('members', ()):
        # A model is identified by its sha256 if that is known.
        if member.get('model_sha256') is not None:
            member.pop('model')
        member.pop('device', None)
    return {
        'runner_version': RUNNER_VERSION,
        'seed_id': job.seeds[0].seed_id,
        'random_seed': job.seeds[0].random_seed,
        'exploration': omit_added(settings.model_dump(mode='json', exclude=omitted)),
        'calculator': calculator,
        'model_sha256': model_sha256,
        **reference,
    }
