"""The inputs of a labelling run, from the section ``labelling`` of a config."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from aiida import orm
from ase import Atoms

from aiida_mlip_autopipe.calculations.labelling.decisions import result_settings
from aiida_mlip_autopipe.calculations.labelling.measured_cost import measured_cost, measured_cost_of_processes
from aiida_mlip_autopipe.calculations.processes.base import PROCESSES_VERSION
from aiida_mlip_autopipe.config.execution import ExecutionSettings
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, ConfigError
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.jobs.environment import Environment
from aiida_mlip_autopipe.jobs.resources import JobResources
from aiida_mlip_autopipe.labelling import LABELLERS, LABELLING_VERSION, LabellingSettings, RunnerLabeller
from aiida_mlip_autopipe.labelling.contract import LabellingRequest
from aiida_mlip_autopipe.labelling.cost import Calibration, Cost, Prediction, modelled, predict_labels
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
        The correction of the predicted cost, from labels that were made on the computer of the code.
    """

    inputs: dict[str, Any]
    level: LevelOfTheory
    code: orm.AbstractCode
    job_code: JobCode | None
    resources: JobResources
    calibration: Calibration

    @property
    def method_version(self) -> str:
        """The version of the method that computes the labels."""
        return PROCESSES_VERSION if self.job_code is None else LABELLING_VERSION

    def predict(
        self,
        structures: Sequence[Atoms],
        isolated_atoms: Collection[str] = (),
        budget_core_hours: float | None = None,
    ) -> Prediction | None:
        """Return what labels cost, and which of them a budget allows; None if the cost cannot be predicted."""
        return predict_labels(
            structures,
            None if self.job_code is None else self.job_code.calculator,
            self.calibration,
            isolated_atoms=isolated_atoms,
            budget_core_hours=budget_core_hours,
        )

    def cost_of(self, core_s: float) -> Cost:
        """Return predicted core seconds with their uncertainty."""
        return Cost(core_s / 3600, self.calibration.uncertainty, self.calibration.n_labels)

    def predict_cost_like(self, examples: Sequence[Atoms], n_labels: int, settings: LabellingSettings) -> Cost | None:
        """Return the predicted cost of a number of labels; None if it cannot be predicted.

        Parameters
        ----------
        examples
            Structures like those that will be labelled.
        n_labels
            Number of labels.
        settings
            Whether isolated atoms are computed, and the budget, which is an upper limit of the cost.
        """
        symbols = {symbol for atoms in examples for symbol in atoms.symbols} if settings.isolated_atoms else ()
        labels, atoms = self.predict(examples), self.predict([], symbols)
        if labels is None or atoms is None or not examples:
            return None
        core_s = labels.core_s * n_labels / len(examples) + atoms.core_s
        if settings.budget_core_hours is not None:
            core_s = min(core_s, 3600 * settings.budget_core_hours)
        return self.cost_of(core_s)


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
        process, level = process_inputs(settings, structures, resources)
        found = LevelOfTheory.model_validate(level.get_dict())
        calibration = measured_cost_of_processes(found, process['code'].computer)
        if not calibration.n_labels:
            _refuse_budget(settings)
        inputs = {**shared, 'level': level, 'plugin': process, 'calibration': asdict(calibration)}
        return LabellerInputs(inputs, found, process['code'], None, resources, calibration)
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
            f'{settings.kind!r} cannot be predicted before its first labels at this level, so remove '
            'the budget, or limit max_atoms',
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
