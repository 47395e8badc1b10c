"""From a config to the inputs of a campaign's work chain, for the command line and the launchers of ``workchains/``."""

from __future__ import annotations

import hashlib
from pathlib import Path

from aiida import orm
from aiida.engine import ProcessBuilder

from aiida_mlip_autopipe.calculations.files import rewrite_files
from aiida_mlip_autopipe.config import CampaignConfig, ask_databases, config_hash
from aiida_mlip_autopipe.config.checks import check_seeds
from aiida_mlip_autopipe.description import DESCRIPTION_VERSION
from aiida_mlip_autopipe.exploration import EVALUATION_VERSION, RUNNER_VERSION
from aiida_mlip_autopipe.generation import count_seeds
from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain
from aiida_mlip_autopipe.workflows.jobs import (
    committee_code,
    descriptor_code,
    job_codes,
    job_options,
    max_concurrent_jobs,
    stash_resources,
)

# What is an input of its own, or of other jobs: an exploration that goes without has the inputs that it always had.
NOT_TOLD_WITH_SETTINGS = {'committee', 'full_trajectory_interval'}


def build_campaign(config: CampaignConfig) -> ProcessBuilder:
    """Return the inputs of a campaign's work chain.

    Raises
    ------
    AutopipeError
        If a code does not exist or lacks its model, a query to a database has no answer, or a seed cannot be made.
    """
    execution = config.execution
    codes = {one.key: one for one in job_codes(config)}
    committee = committee_code(config)
    config = ask_databases(config)
    check_seeds(config.generation, random_seed=config.random_seed, cutoff_A=config.cutoff_A)
    files: dict[str, orm.SinglefileData] = {}
    entries = rewrite_files(
        [entry.model_dump(mode='json') for entry in config.generation], lambda path: _file_key(path, files)
    )
    builder = DatasetWorkChain.get_builder()
    builder.metadata.label = config.name
    builder.config = orm.Dict(config.model_dump(mode='json'))
    builder.campaign = orm.Dict({'name': config.name, 'config_hash': config_hash(config)})
    builder.random_seed = orm.Int(config.random_seed)
    builder.generation = orm.Dict({'entries': entries, 'cutoff_A': config.cutoff_A})
    builder.n_seeds = count_seeds(config.generation)
    builder.files = files
    builder.sampling = orm.Dict(config.sampling.model_dump(mode='json'))
    builder.job.exploration = orm.Dict(config.exploration.model_dump(mode='json', exclude=NOT_TOLD_WITH_SETTINGS))
    if config.exploration.full_trajectory_interval is not None:
        builder.job.full_trajectory_interval = orm.Int(config.exploration.full_trajectory_interval)
    builder.job.runner_version = orm.Str(RUNNER_VERSION)
    builder.codes = {key: one.inputs() for key, one in codes.items()}
    builder.options = {key: job_options(one.resources, one.code.computer) for key, one in codes.items()}
    stashes = {key: one.stash for key, one in codes.items() if one.stash is not None}
    builder.stash = {key: orm.Str(stash.folder) for key, stash in stashes.items()}
    builder.stash_options = {
        key: job_options(stash_resources(stash, codes[key].resources), codes[key].code.computer)
        for key, stash in stashes.items()
    }
    if committee is not None:
        options = job_options(committee.resources, committee.code.computer)
        builder.committee = {
            **committee.inputs(),
            'evaluation_version': orm.Str(EVALUATION_VERSION),
            'metadata': {'options': options},
        }
    describer = descriptor_code(config, list(codes.values()))
    builder.description = {
        **describer.inputs(),
        'description_version': orm.Str(DESCRIPTION_VERSION),
        'metadata': {'options': job_options(describer.resources, describer.code.computer)},
    }
    builder.describe_in_jobs_from = execution.descriptors.min_frames
    builder.retry_memory_factor = execution.retry_memory_factor
    builder.max_concurrent_jobs = max_concurrent_jobs(execution, codes.values())
    builder.max_legs = execution.max_legs
    builder.min_success_share = execution.min_success_share
    builder.reuse_finished = execution.reuse_finished
    return builder


def _file_key(path: str, files: dict[str, orm.SinglefileData]) -> str:
    """Add a file to the inputs under a key from its content, so that moving it changes no hash."""
    content = Path(path).read_bytes()
    key = f'file_{hashlib.sha256(content).hexdigest()[:16]}'
    if key not in files:
        files[key] = orm.SinglefileData.from_bytes(content, filename=Path(path).name)
    return key
