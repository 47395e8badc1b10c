"""The codes of a campaign's jobs, with their calculators, models and AiiDA options."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from aiida import orm
from aiida.common.exceptions import MultipleObjectsError, NotExistent

from aiida_mlip_autopipe.calculators import CalculatorSettings
from aiida_mlip_autopipe.config import CampaignConfig
from aiida_mlip_autopipe.config.execution import MAX_CONCURRENT_JOBS, ExecutionSettings, StashSettings
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.randomness import derive_random_seed
from aiida_mlip_autopipe.descriptors.describe import required_descriptors
from aiida_mlip_autopipe.installation.codes import LOCAL_COMPUTER, code_label, find_codes
from aiida_mlip_autopipe.jobs.resources import JobResources
from aiida_mlip_autopipe.labelling import LABELLERS, LabellingSettings, RunnerLabeller
from aiida_mlip_autopipe.training.trainer import TrainerSettings
from aiida_mlip_autopipe.workflows.inputs.job_code import JobCode
from aiida_mlip_autopipe.workflows.inputs.models import member_models, model_node

LOCAL_SCHEDULER = 'core.direct'
CONCURRENT_JOBS_WITH_SCHEDULER = 50
WALLCLOCK_S_WITH_SCHEDULER = 3600


def job_codes(config: CampaignConfig) -> list[JobCode]:
    """Return the codes of a campaign, each with the node of its model.

    Raises
    ------
    AutopipeError
        If a code does not exist or is listed twice with the same model, or for any of the reasons given in
        `model_node`.
    """
    execution = config.execution
    if not execution.codes:
        code = _code_or_default(execution.code, config.calculator.kind, 'execution.code')
        return [_job_code(code, config.calculator, execution.resources(), execution.stash)]
    codes: dict[str, JobCode] = {}
    for number, one in enumerate(execution.codes):
        code = load_code(one.code, f'execution.codes[{number}].code')
        resources, stash = one.resources or execution.resources(), one.stash or execution.stash
        made = _job_code(code, one.calculator or config.calculator, resources, stash)
        if made.key in codes:
            message = f'execution.codes[{number}]: {one.code} is listed twice with this calculator and model'
            raise AutopipeError(Code.VALUES_EXCLUDE, message)
        codes[made.key] = made
    return list(codes.values())


def committee_code(config: CampaignConfig) -> JobCode | None:
    """Return the code of the second calculator, with the node of its model; None without a committee.

    Raises
    ------
    AutopipeError
        If the code does not exist, or for any of the reasons given in `model_node`.
    """
    settings = config.exploration.committee
    if settings is None:
        return None
    code = _code_or_default(settings.code, settings.calculator.kind, 'exploration.committee.code')
    return _job_code(code, settings.calculator, settings.resources or config.execution.resources())


def labelling_code(settings: LabellingSettings, execution: ExecutionSettings) -> JobCode:
    """Return the code of a labeller that runs this program, with the node of its model.

    Parameters
    ----------
    settings
        The section ``labelling``.
    execution
        The section ``execution``, with the default resources.

    Raises
    ------
    AutopipeError
        If the code does not exist, or for any of the reasons given in `model_node`.
    """
    labeller = LABELLERS.make(settings)
    assert isinstance(labeller, RunnerLabeller)
    calculator = labeller.calculator_settings()
    code = _code_or_default(settings.code, calculator.kind, 'labelling.code')
    return _job_code(code, calculator, settings.resources or execution.resources())


def training_code(settings: TrainerSettings, execution: ExecutionSettings) -> JobCode:
    """Return the code of a trainer, with the node of the model that it fine-tunes, if there is one.

    Parameters
    ----------
    settings
        The section ``training``.
    execution
        The section ``execution``, with the default resources.

    Raises
    ------
    AutopipeError
        If the code does not exist, or for any of the reasons given in `model_node`.
    """
    code = _code_or_default(settings.code, settings.kind, 'training.code')
    resources = settings.resources or execution.resources()
    if settings.model is None:
        return JobCode(code, settings.calculator(), resources)
    return _job_code(code, settings.calculator(), resources)


def descriptor_code(config: CampaignConfig, codes: Sequence[JobCode]) -> JobCode:
    """Return the code of the descriptor jobs, with the calculator of the first exploration code.

    Raises
    ------
    AutopipeError
        If the code does not exist, or for any of the reasons given in `model_node`.
    """
    first, settings = codes[0], config.execution.descriptors
    resources = settings.resources or first.resources
    if settings.code is None:
        return replace(first, resources=resources, stash=None)
    code = load_code(settings.code, 'execution.descriptors.code')
    if not uses_learned_descriptors(config):
        return JobCode(code, first.calculator, resources)
    return _job_code(code, first.calculator, resources)


def uses_learned_descriptors(config: CampaignConfig) -> bool:
    """Return whether a campaign uses learned descriptors."""
    requests = required_descriptors(config.sampling.model_dump(mode='json'))
    return any(one.descriptor['kind'] == 'learned' for one in requests)


def _job_code(
    code: orm.AbstractCode, settings: CalculatorSettings, resources: JobResources, stash: StashSettings | None = None
) -> JobCode:
    return JobCode(code, settings, resources, stash, model_node(settings, code), member_models(settings, code))


def _code_or_default(label: str | None, kind: str, where: str) -> orm.AbstractCode:
    """Return a code by its label; by default the one that the setup registered for a calculator."""
    remedy = '' if label else f"; run 'mlip-autopipe setup --calculator {kind}'"
    return load_code(label or f'{code_label(kind)}@{LOCAL_COMPUTER}', where, remedy)


def choose_code(random_seed: int, seed_id: str, keys: Collection[str]) -> str:
    """Return the key of the code that explores a seed. It is chosen by rendezvous hashing.

    Each code draws a number for the seed, and the code with the largest number explores it. Therefore an additional
    seed affects no other seed, and an additional code takes over a fraction of the seeds and leaves the others as they
    are.

    Parameters
    ----------
    random_seed
        The campaign's random seed.
    seed_id
        The seed.
    keys
        The keys of the codes.
    """
    return max(sorted(keys), key=lambda key: derive_random_seed(random_seed, 'code', seed_id, key))


def load_code(label: str, where: str, remedy: str = '') -> orm.AbstractCode:
    """Return a code by its label.

    Parameters
    ----------
    label
        The label, such as ``label@computer``.
    where
        The place in the config that names the code.
    remedy
        What to do if the code does not exist.

    Raises
    ------
    AutopipeError
        If no code or several codes have this label; the message lists the codes of the profile.
    """
    try:
        return orm.load_code(label)
    except MultipleObjectsError as error:
        message = f'{where}: several codes are called {label!r}; write label@computer'
        raise AutopipeError(Code.CODE_AMBIGUOUS, message) from error
    except NotExistent as error:
        known = sorted(code.full_label for code in find_codes())
        hint = f'existing codes: {", ".join(known)}' if known else 'the profile has no codes'
        message = f'{where}: the code {label!r} does not exist; {hint}{remedy}'
        raise AutopipeError(Code.CODE_MISSING, message) from error


def stash_resources(stash: StashSettings, exploration: JobResources) -> JobResources:
    """Return the resources of a job that copies a full trajectory: by default one core in the exploration's queue."""
    if stash.resources is not None:
        return stash.resources
    return JobResources(
        queue=exploration.queue, account=exploration.account, scheduler_lines=exploration.scheduler_lines
    )


def job_options(resources: JobResources, computer: orm.Computer) -> dict[str, Any]:
    """Return the AiiDA options of a job with these resources."""
    has_scheduler = computer.scheduler_type != LOCAL_SCHEDULER
    resource_options = {'num_machines': resources.nodes, 'num_mpiprocs_per_machine': 1}
    wallclock = resources.max_wallclock_s
    lines = [resources.scheduler_lines] if resources.scheduler_lines else []
    if has_scheduler:
        resource_options['num_cores_per_mpiproc'] = resources.cpus_per_job
        wallclock = wallclock or WALLCLOCK_S_WITH_SCHEDULER
    if resources.gpus_per_job and computer.scheduler_type == 'core.slurm':
        lines.insert(0, f'#SBATCH --gres=gpu:{resources.gpus_per_job}')
    options = {
        'resources': resource_options,
        'max_wallclock_seconds': wallclock,
        'max_memory_kb': resources.memory_MB and resources.memory_MB * 1024,
        'queue_name': resources.queue,
        'account': resources.account,
        'custom_scheduler_commands': '\n'.join(lines) or None,
        # A job that is preempted, or whose node fails, restarts in its folder and continues from its checkpoint.
        'rerunnable': has_scheduler or None,
    }
    return {name: value for name, value in options.items() if value is not None}


def job_inputs(job_code: JobCode, environment: orm.Dict, **extra: orm.Data) -> dict[str, Any]:
    """Return the inputs of the jobs of a code, with their options as metadata.

    Parameters
    ----------
    job_code
        The code.
    environment
        Its environment record.
    extra
        Further inputs.
    """
    options = job_options(job_code.resources, job_code.code.computer)
    return {
        **job_code.inputs(environment),
        **extra,
        'python_path': user_python_path(),
        'metadata': {'options': options},
    }


def user_python_path() -> str:
    """Return the PYTHONPATH of the user's shell as absolute paths, for jobs on this machine."""
    folders = os.environ.get('PYTHONPATH', '').split(os.pathsep)
    return os.pathsep.join(os.path.abspath(folder) for folder in folders if folder)


def max_concurrent_jobs(execution: ExecutionSettings, codes: Collection[JobCode]) -> int:
    """Return the maximum number of explorations at a time; AiiDA itself would start all of them at once."""
    if execution.max_concurrent_jobs is not None:
        return execution.max_concurrent_jobs
    limits = {one.code.computer.pk: computer_limit(one.code, one.resources) for one in codes}
    return min(sum(limits.values()), MAX_CONCURRENT_JOBS)


def computer_limit(code: orm.AbstractCode, resources: JobResources) -> int:
    """Return the default of the maximum number of jobs of a code at a time."""
    if code.computer.scheduler_type != LOCAL_SCHEDULER:
        return CONCURRENT_JOBS_WITH_SCHEDULER
    return max(1, len(os.sched_getaffinity(0)) // resources.cpus_per_job)
