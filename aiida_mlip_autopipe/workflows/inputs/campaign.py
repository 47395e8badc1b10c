"""The inputs of a campaign's work chain, from a config."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from aiida import orm

from aiida_mlip_autopipe.calculations.explore import entry_key, exploration_inputs
from aiida_mlip_autopipe.calculations.model_link import MEMBER_MODELS
from aiida_mlip_autopipe.config import CampaignConfig, ask_databases, config_hash
from aiida_mlip_autopipe.config.checks.seeds import check_seeds
from aiida_mlip_autopipe.config.checks.warnings import campaign_warnings
from aiida_mlip_autopipe.descriptors import DESCRIPTORS_VERSION
from aiida_mlip_autopipe.exploration import RUNNER_VERSION
from aiida_mlip_autopipe.exploration.settings.novelty import reference_of
from aiida_mlip_autopipe.generation import dump_entries
from aiida_mlip_autopipe.labelling import LABELLING_VERSION
from aiida_mlip_autopipe.workflows.inputs.codes import (
    committee_code,
    descriptor_code,
    job_codes,
    job_inputs,
    job_options,
    max_concurrent_jobs,
    stash_resources,
    user_python_path,
    uses_learned_descriptors,
)
from aiida_mlip_autopipe.workflows.inputs.environments import Environments, Notify
from aiida_mlip_autopipe.workflows.inputs.job_code import JobCode
from aiida_mlip_autopipe.workflows.inputs.labelling import labelling_inputs, refuse_other_levels
from aiida_mlip_autopipe.workflows.inputs.models import place_models
from aiida_mlip_autopipe.workflows.inputs.reference import reference_dataset, sets_of_reference


def campaign_inputs(config: CampaignConfig, notify: Notify, environments: Environments | None = None) -> dict[str, Any]:
    """Return the inputs of `DatasetWorkChain` for a config; new nodes are not stored.

    Parameters
    ----------
    config
        The campaign.
    notify
        Called with each warning from the check of the seeds, and with a message for each code whose environment has
        changed and for each model that was copied.
    environments
        The environment records that were read before, if there are any.

    Raises
    ------
    AutopipeError
        If a code does not exist or lacks its model or environment record, a database query fails, the reference
        dataset is not available, or the seeds cannot be generated.
    """
    execution = config.execution
    codes = {one.key: one for one in job_codes(config)}
    committee = committee_code(config)
    config = ask_databases(config)
    checked = check_seeds(config)
    environments = environments or Environments(notify)
    describer = descriptor_code(config, list(codes.values()))
    files: dict[str, orm.SinglefileData] = {}
    entries = dump_entries(config.generation, lambda path: _file_key(path, files))
    job: dict[str, Any] = {
        **exploration_inputs(config.exploration),
        'runner_version': orm.Str(RUNNER_VERSION),
        'python_path': user_python_path(),
    }
    if config.exploration.full_trajectory_interval is not None:
        job['full_trajectory_interval'] = orm.Int(config.exploration.full_trajectory_interval)
    inputs: dict[str, Any] = {
        'config': orm.Dict(config.model_dump(mode='json')),
        'campaign': orm.Dict({'name': config.name, 'config_hash': config_hash(config)}),
        'random_seed': orm.Int(config.random_seed),
        'generation': orm.Dict({'entries': entries, 'cutoff_A': config.cutoff_A}),
        'n_seeds': config.n_seeds,
        'files': files,
        'sampling': orm.Dict(config.sampling.model_dump(mode='json', exclude={'reference_dataset'})),
        'codes': {key: _code_inputs(one, environments.node(one)) for key, one in codes.items()},
        'job': job,
        'overrides': {
            entry_key(number): exploration_inputs(config.exploration_of(number), with_intervals=False)
            for number, entry in enumerate(config.generation)
            if entry.exploration
        },
        'descriptors': _descriptors_inputs(describer, environments, uses_learned_descriptors(config)),
        'descriptor_jobs_from': execution.descriptors.min_frames,
        'retry_memory_factor': execution.retry_memory_factor,
        'max_concurrent_jobs': max_concurrent_jobs(execution, codes.values()),
        'max_iterations': orm.Int(execution.max_legs),
        'min_success_fraction': execution.min_success_fraction,
        'reuse_finished': execution.reuse_finished,
    }
    if committee is not None:
        inputs['committee'] = job_inputs(
            committee, environments.node(committee), evaluation_version=orm.Str(LABELLING_VERSION)
        )
    if config.sampling.reference_dataset is not None:
        inputs['reference_dataset'] = reference_dataset(config.sampling.reference_dataset, 'sampling')
    labeller = None
    if config.labelling is not None:
        seeds = [seed.atoms for seed in checked.seeds if seed is not None]
        labeller = labelling_inputs(config.labelling, execution, seeds, environments)
        refuse_other_levels(labeller.level, inputs.get('reference_dataset'))
        inputs['labelling'] = labeller.inputs
    known_sets = sets_of_reference(config.sampling.reference_dataset)
    for warning in campaign_warnings(config, checked, known_sets):
        notify(warning)
    known = reference_of(config.exploration.novelty)
    if known is not None:
        is_same = known == config.sampling.reference_dataset
        inputs['novelty_reference_dataset'] = (
            inputs['reference_dataset'] if is_same else reference_dataset(known, 'exploration.novelty')
        )
    # This comes last, so that nothing is copied if the config is refused.
    optional = [one for one in (committee, None if labeller is None else labeller.job_code) if one is not None]
    place_models([*codes.values(), *optional, describer], notify)
    return inputs


def _code_inputs(job_code: JobCode, environment: orm.Dict) -> dict[str, Any]:
    """Return the namespace of a code that runs explorations."""
    options = job_options(job_code.resources, job_code.code.computer)
    inputs: dict[str, Any] = {**job_code.inputs(environment), 'options': orm.Dict(options)}
    if job_code.stash is not None:
        options = job_options(stash_resources(job_code.stash, job_code.resources), job_code.code.computer)
        inputs['stash'] = {'folder': orm.Str(job_code.stash.folder), 'options': orm.Dict(options)}
    return inputs


def _descriptors_inputs(describer: JobCode, environments: Environments, with_calculator: bool) -> dict[str, Any]:
    """Return the inputs of the descriptor jobs; only learned descriptors need a calculator."""
    version = orm.Str(DESCRIPTORS_VERSION)
    if with_calculator:
        return job_inputs(describer, environments.node(describer), descriptors_version=version)
    inputs = job_inputs(describer, environments.node_without_calculator(describer), descriptors_version=version)
    return {name: value for name, value in inputs.items() if name not in ('calculator', 'model', MEMBER_MODELS)}


def _file_key(path: Path, files: dict[str, orm.SinglefileData]) -> str:
    """Add a file to the inputs and return its key, which is derived from the content and not from the path."""
    content = path.read_bytes()
    key = f'file_{hashlib.sha256(content).hexdigest()[:16]}'
    if key not in files:
        files[key] = orm.SinglefileData.from_bytes(content, filename=path.name)
    return key
