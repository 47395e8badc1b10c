"""From a config to the inputs of a campaign's work chain, for the command line and the launchers of ``workchains/``."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.exceptions import MultipleObjectsError, NotExistent
from aiida.engine import ProcessBuilder

from aiida_mlip_autopipe.calculations.files import rewrite_files
from aiida_mlip_autopipe.config import CampaignConfig, ask_databases, config_hash
from aiida_mlip_autopipe.config.checks import check_seeds
from aiida_mlip_autopipe.config.execution import MAX_CONCURRENT_JOBS, ExecutionSettings
from aiida_mlip_autopipe.errors import AutopipeError
from aiida_mlip_autopipe.exploration import RUNNER_VERSION
from aiida_mlip_autopipe.exploration.calculators import CalculatorSettings, resolve_model
from aiida_mlip_autopipe.exploration.calculators.base import file_sha256
from aiida_mlip_autopipe.generation import count_seeds
from aiida_mlip_autopipe.installation.codes import LOCAL_COMPUTER, code_label
from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain

LOCAL_SCHEDULER = 'core.direct'
CONCURRENT_JOBS_BEHIND_SCHEDULER = 50
WALLCLOCK_S_BEHIND_SCHEDULER = 3600


def build_campaign(config: CampaignConfig) -> ProcessBuilder:
    """Return the inputs of a campaign's work chain.

    Raises
    ------
    AutopipeError
        If the code does not exist, a query to a database has no answer, or a seed cannot be made.
    """
    execution = config.execution
    code = load_code(config)
    config = ask_databases(config)
    check_seeds(config.generation, random_seed=config.random_seed, cutoff_A=config.calculator.cutoff_A)
    files: dict[str, orm.SinglefileData] = {}
    entries = rewrite_files(
        [entry.model_dump(mode='json') for entry in config.generation], lambda path: _file_key(path, files)
    )
    builder = DatasetWorkChain.get_builder()
    builder.metadata.label = config.name
    builder.config = orm.Dict(config.model_dump(mode='json'))
    builder.campaign = orm.Dict({'name': config.name, 'config_hash': config_hash(config)})
    builder.random_seed = orm.Int(config.random_seed)
    builder.generation = orm.Dict({'entries': entries, 'cutoff_A': config.calculator.cutoff_A})
    builder.n_seeds = count_seeds(config.generation)
    builder.files = files
    builder.sampling = orm.Dict(config.sampling.model_dump(mode='json'))
    builder.job.code = code
    builder.job.calculator = orm.Dict(pin_model(config.calculator).model_dump(mode='json'))
    builder.job.exploration = orm.Dict(config.exploration.model_dump(mode='json'))
    builder.job.runner_version = orm.Str(RUNNER_VERSION)
    builder.options = job_options(execution, code.computer)
    builder.max_concurrent_jobs = max_concurrent_jobs(execution, code.computer)
    builder.max_legs = execution.max_legs
    builder.min_success_share = execution.min_success_share
    builder.reuse_finished = execution.reuse_finished
    return builder


def pin_model(settings: CalculatorSettings) -> CalculatorSettings:
    """Return a calculator's settings with the sha256 of its model file: jobs then refuse another file.

    Raises
    ------
    AutopipeError
        If there is no such file here.
    """
    if getattr(settings, 'model_sha256', '') is not None:
        return settings
    path = resolve_model(settings)
    return settings if path is None else settings.model_copy(update={'model_sha256': file_sha256(path)})


def load_code(config: CampaignConfig) -> orm.AbstractCode:
    """Return the code that runs the explorations of a campaign.

    Raises
    ------
    AutopipeError
        If it does not exist; the message says which codes there are.
    """
    label = config.execution.code or f'{code_label(config.calculator.kind)}@{LOCAL_COMPUTER}'
    try:
        return orm.load_code(label)
    except MultipleObjectsError as error:
        raise AutopipeError(f'execution.code: {label!r} names several codes; write it as label@computer') from error
    except NotExistent as error:
        known = sorted(code.full_label for (code,) in orm.QueryBuilder().append(orm.AbstractCode).iterall())
        hint = f'there are {", ".join(known)}' if known else 'there is none'
        remedy = '' if config.execution.code else f"; run 'mlip-autopipe setup --calculator {config.calculator.kind}'"
        raise AutopipeError(f'execution.code: no code {label!r} in this profile, {hint}{remedy}') from error


def job_options(execution: ExecutionSettings, computer: orm.Computer) -> dict[str, Any]:
    """Return the options of an exploration job in AiiDA's words."""
    resources = {'num_machines': execution.num_machines, 'num_mpiprocs_per_machine': 1}
    if computer.scheduler_type != LOCAL_SCHEDULER:
        resources['num_cores_per_mpiproc'] = execution.threads_per_job
    wallclock = execution.max_wallclock_s
    if wallclock is None and computer.scheduler_type != LOCAL_SCHEDULER:
        wallclock = WALLCLOCK_S_BEHIND_SCHEDULER
    options = {
        'resources': resources,
        # PyTorch and the linear algebra libraries read the number of their threads when they are loaded.
        'environment_variables': {'OMP_NUM_THREADS': str(execution.threads_per_job)},
        'max_wallclock_seconds': wallclock,
        'max_memory_kb': execution.max_memory_MB and execution.max_memory_MB * 1024,
        'queue_name': execution.queue,
        'account': execution.account,
        'custom_scheduler_commands': execution.scheduler_lines or None,
    }
    return {name: value for name, value in options.items() if value is not None}


def max_concurrent_jobs(execution: ExecutionSettings, computer: orm.Computer) -> int:
    """Return how many explorations may be in flight: AiiDA itself has no limit, and starts all at once."""
    if execution.max_concurrent_jobs is not None:
        return execution.max_concurrent_jobs
    if computer.scheduler_type != LOCAL_SCHEDULER:
        return CONCURRENT_JOBS_BEHIND_SCHEDULER
    return min(max(1, len(os.sched_getaffinity(0)) // execution.threads_per_job), MAX_CONCURRENT_JOBS)


def _file_key(path: str, files: dict[str, orm.SinglefileData]) -> str:
    """Add a file to the inputs under a key from its content, so that moving it changes no hash."""
    content = Path(path).read_bytes()
    key = f'file_{hashlib.sha256(content).hexdigest()[:16]}'
    if key not in files:
        files[key] = orm.SinglefileData.from_bytes(content, filename=Path(path).name)
    return key
