"""The inputs of a campaign with rounds, from a config."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiida import orm

from aiida_mlip_autopipe.calculations.training.replay import replay_node
from aiida_mlip_autopipe.config import CampaignConfig
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.exploration import CALCULATORS, AnyExploration, ExplorationSettings
from aiida_mlip_autopipe.jobs.version import TRAINING_VERSION
from aiida_mlip_autopipe.rounds.gate import MAX_DRIFT_EV_A
from aiida_mlip_autopipe.training.base import find_model
from aiida_mlip_autopipe.training.offsets import Offsets
from aiida_mlip_autopipe.training.replay import read_replay_file
from aiida_mlip_autopipe.training.trainer import TRAINERS, TrainerSettings
from aiida_mlip_autopipe.workflows.inputs.campaign import campaign_inputs
from aiida_mlip_autopipe.workflows.inputs.codes import job_inputs, training_code
from aiida_mlip_autopipe.workflows.inputs.environments import Environments, Notify
from aiida_mlip_autopipe.workflows.inputs.job_code import JobCode
from aiida_mlip_autopipe.workflows.inputs.models import place_models

HOT_FACTOR = 1.5
"""Temperature of the hot runs, relative to the highest temperature of the explorations."""
DEFAULT_TEMPERATURE_K = 300.0
"""Temperature in K that replaces the highest temperature of the explorations if none of them has a temperature."""


def rounds_inputs(config: CampaignConfig, notify: Notify) -> dict[str, Any]:
    """Return the inputs of `CampaignWorkChain` for a config with rounds; new nodes are not stored.

    Parameters
    ----------
    config
        The campaign.
    notify
        Called with each warning, and with a message for each code whose environment has changed and for each model that
        was copied.

    Raises
    ------
    AutopipeError
        If the code of the trainer does not exist or does not run, the model does not support an element, or for any of
        the reasons given in `campaign_inputs`.
    """
    job_code = check_training(config)
    environments = Environments(notify)
    training = config.training
    assert training is not None and config.rounds is not None  # noqa: PT018 (the config was checked)
    job = job_inputs(
        job_code,
        environments.node(job_code),
        # The number of rows only matters for a new model.
        training=orm.Dict(training.recipe_settings(1)),
        training_version=orm.Str(TRAINING_VERSION),
    )
    if training.replay_file is not None:
        known = None if job_code.model is None else job_code.model.base.attributes.get('elements')
        frames, notes = read_replay_file(training.replay_file, elements_of(config), known)
        job['replay'] = replay_node(frames)
        for note in notes:
            notify(note)
    inputs = campaign_inputs(config, notify, environments)
    place_models([job_code], notify)
    return {
        **inputs,
        'training': job,
        'n_replay': orm.Int(training.n_replay),
        'max_training_jobs': orm.Int(training.max_jobs),
        'rounds': orm.Dict(round_settings(config)),
        'elements': orm.List(sorted(elements_of(config))),
        'hot_runs': orm.Dict(hot_run_settings(config)),
    }


def elements_of(config: CampaignConfig) -> set[str]:
    """Return the symbols of the elements of all seeds."""
    return {symbol for entry in config.generation for symbol in entry.elements()}


def round_settings(config: CampaignConfig) -> dict[str, Any]:
    """Return the settings of the rounds, with the bound on the drift that the recipe of the training implies."""
    assert config.rounds is not None and config.training is not None  # noqa: PT018
    settings = config.rounds.model_dump(mode='json')
    if settings['max_drift_eV_A'] is None and config.training.recipe == 'replay':
        settings['max_drift_eV_A'] = MAX_DRIFT_EV_A
    return settings


def hot_run_settings(config: CampaignConfig) -> dict[str, Any]:
    """Return the settings of the hot runs: dynamics at one temperature, with the guards of the explorations."""
    assert config.rounds is not None
    hot, section = config.rounds.hot_runs, config.exploration
    explorations = [config.exploration_of(number) for number in range(len(config.generation))]
    highest = max((_highest_temperature(one) for one in explorations), default=0.0) or DEFAULT_TEMPERATURE_K
    settings: dict[str, Any] = {
        'temperature_K': hot.temperature_K or HOT_FACTOR * highest,
        'n_steps': hot.n_steps,
    }
    if isinstance(section, ExplorationSettings):
        settings |= section.model_dump(mode='json', include={'timestep_fs', 'guards'}, exclude_none=True)
    return settings


def _highest_temperature(settings: AnyExploration) -> float:
    """Return the highest temperature of an exploration in K; 0 if it has none."""
    found: list[float] = []
    for part in (settings, *getattr(settings, 'phases', ())):
        given = getattr(part, 'temperature_K', None)
        if isinstance(given, tuple):
            found += given
        elif given is not None:
            found.append(getattr(given, 'max', given))
    return max(found, default=0.0)


def check_training(config: CampaignConfig) -> JobCode:
    """Return the code of the trainer of a campaign with rounds, with the starting model.

    Raises
    ------
    AutopipeError
        If the code does not exist, or the model does not support an element of the seeds or cannot be continued.
    """
    assert config.training is not None
    job_code = training_code(config.training, config.execution)
    assert job_code.model is not None
    supported = job_code.model.base.attributes.get('elements')
    if supported is not None and (missing := sorted(elements_of(config) - set(supported))):
        raise AutopipeError(
            Code.ELEMENT_UNSUPPORTED,
            f'training.model: {job_code.model.name} does not support {", ".join(missing)}; use a model that does, or '
            'remove the entries of generation with these elements',
        )
    check_model(config.training)
    return job_code


def check_model(training: TrainerSettings) -> None:
    """Refuse a model that the trainer cannot continue, before anything is explored and labelled.

    Without the package of the trainer on this machine, the first training job refuses it.

    Raises
    ------
    AutopipeError
        If the file does not exist, or the trainer cannot continue this model.
    """
    trainer = TRAINERS.load(training.kind)
    file = find_model(str(training.model), trainer.known_models, 'training.model')
    package = CALCULATORS.load(training.kind).module.partition('.')[0]
    if file is not None and find_spec(package) is not None:
        with TemporaryDirectory() as folder:
            trainer(training).write_start(file, Offsets({}, 0.0, determined=True), Path(folder))
