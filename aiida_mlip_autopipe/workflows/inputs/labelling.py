"""The inputs of a labelling run, from the section ``labelling`` of a config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from aiida import orm
from ase import Atoms

from aiida_mlip_autopipe.calculations.labelling.decisions import result_settings
from aiida_mlip_autopipe.calculations.labelling.measured_cost import measured_cost
from aiida_mlip_autopipe.config.execution import ExecutionSettings
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, ConfigError
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.jobs.environment import Environment
from aiida_mlip_autopipe.jobs.resources import JobResources
from aiida_mlip_autopipe.labelling import LABELLERS, LABELLING_VERSION, LabellingSettings, RunnerLabeller
from aiida_mlip_autopipe.labelling.contract import LabellingRequest
from aiida_mlip_autopipe.labelling.cost import Calibration, Cost, modelled, predict_core_s
from aiida_mlip_autopipe.labelling.suitability import find_unsuitable
from aiida_mlip_autopipe.sampling.pool.reference_dataset import reference_levels
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory, describe_difference
from aiida_mlip_autopipe.workflows.inputs.codes import job_inputs, labelling_code
from aiida_mlip_autopipe.workflows.inputs.environments import Environments
from aiida_mlip_autopipe.workflows.inputs.job_code import JobCode
from aiida_mlip_autopipe.workflows.inputs.process_labelling import process_inputs


@dataclass(frozen=True)
class LabellerInputs:
    """What a labelling run needs, from the section ``labelling``.

    Attributes
    ----------
    inputs
        The inputs of `LabellingWorkChain` except the dataset and those that a campaign also has.
    level
        The level of theory of the labels.
    code
        The code of the jobs.
    job_code
        The same code with its calculator and models; None for the process of another plugin.
    resources
        The resources of the jobs.
    calibration
        The correction of the predicted cost by labels that were made on the computer of the code.
    """

    inputs: dict[str, Any]
    level: LevelOfTheory
    code: orm.AbstractCode
    job_code: JobCode | None
    resources: JobResources
    calibration: Calibration

    def predict_core_s(self, atoms: Atoms) -> float | None:
        """Return the predicted cost of a label in core seconds; None if it cannot be predicted."""
        return None if self.job_code is None else predict_core_s(atoms, self.job_code.calculator, self.calibration)

    def predict_cost(self, structures: Sequence[Atoms], n_labels: int | None = None) -> Cost | None:
        """Return the predicted cost of labels; None if it cannot be predicted.

        Parameters
        ----------
        structures
            The structures.
        n_labels
            Number of labels of structures like these; by default, one for each.
        """
        costs = [self.predict_core_s(atoms) for atoms in structures]
        known = [cost for cost in costs if cost is not None]
        if len(known) < len(costs):
            return None
        factor = 1.0 if n_labels is None else n_labels / max(len(known), 1)
        return Cost(factor * sum(known) / 3600, self.calibration.uncertainty, self.calibration.n_labels)


def labelling_inputs(
    settings: LabellingSettings,
    execution: ExecutionSettings,
    structures: Sequence[Atoms],
    environments: Environments,
) -> LabellerInputs:
    """Return what a labelling run needs.

    Parameters
    ----------
    settings
        The section ``labelling``.
    execution
        The section ``execution``, with the default resources.
    structures
        The structures to label; for a campaign, its first seeds, which have the same elements.
    environments
        The environment records of the codes.

    Raises
    ------
    AutopipeError
        If the code does not exist or does not run, or the settings do not suit a structure.
    """
    labeller, resources = LABELLERS.make(settings), settings.resources or execution.resources()
    shared = {
        'settings': result_settings(settings),
        'structures_per_job': settings.structures_per_job,
        'retry_failed': settings.retry_failed,
    }
    if not isinstance(labeller, RunnerLabeller):
        _refuse_budget(settings)
        process, level = process_inputs(settings, structures, resources)
        inputs = {**shared, 'level': level, 'plugin': process}
        found = LevelOfTheory.model_validate(level.get_dict())
        return LabellerInputs(inputs, found, process['code'], None, resources, Calibration())
    if faults := find_unsuitable(structures, labeller.calculator_settings()):
        raise ConfigError(faults)
    job_code = labelling_code(settings, execution)
    environment = environments.node(job_code)
    models = [job_code.model, *job_code.member_models.values()]
    sha256 = next((model.sha256 for model in models if model is not None), None)
    found = labeller.level(Environment.model_validate(environment.get_dict()), sha256)
    request = LabellingRequest(energy=labeller.energy, time_limit_s=settings.time_limit_s)
    job = job_inputs(
        job_code,
        environment,
        request=orm.Dict(request.model_dump(mode='json')),
        labelling_version=orm.Str(LABELLING_VERSION),
    )
    calculator = job_code.calculator.model_dump(mode='json')
    calibration = measured_cost(calculator, found, job_code.code.computer)
    if modelled(calculator) is None and not calibration.n_labels:
        _refuse_budget(settings)
    inputs = {
        **shared,
        'level': orm.Dict(found.model_dump(mode='json')),
        'job': job,
        'calibration': asdict(calibration),
    }
    return LabellerInputs(inputs, found, job_code.code, job_code, resources, calibration)


def _refuse_budget(settings: LabellingSettings) -> None:
    """Refuse a budget, because the cost of the labels cannot be predicted."""
    if settings.budget_core_hours is not None:
        raise AutopipeError(
            Code.VALUES_EXCLUDE,
            f'labelling.budget_core_hours: got {settings.budget_core_hours:g}; the cost of the labeller '
            f'{settings.kind!r} cannot be predicted, so remove the budget, or limit max_atoms',
        )


def refuse_other_levels(level: LevelOfTheory, reference: DatasetData | None) -> None:
    """Refuse labels at a different level of theory from those of the reference dataset that the campaign extends.

    Parameters
    ----------
    level
        The level of theory of the labels.
    reference
        The reference dataset of the selection; None without one.

    Raises
    ------
    AutopipeError
        If the reference dataset has labels at another level. The message contains the difference.
    """
    if reference is None or set(reference.base.attributes.get('levels')) <= {level.hash}:
        return
    levels = reference_levels(reference.structures())
    found = next(content for key, content in levels.items() if key != level.hash)
    other = None if found is None else LevelOfTheory.model_validate(found)
    raise AutopipeError(
        Code.LEVELS_MIXED,
        'labelling: the labels have a different level of theory from those of sampling.reference_dataset: '
        f"{describe_difference(level, other)}; use the same settings, or label that dataset with 'mlip-autopipe label "
        "run' first",
    )
