"""The self-tests of codes. A test runs as a process if the code is on this machine, and as a job otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder

from aiida_mlip_autopipe.calculations.model_link import member_name
from aiida_mlip_autopipe.calculations.self_test import SelfTestCalculation
from aiida_mlip_autopipe.calculators.base import without_models
from aiida_mlip_autopipe.config import CampaignConfig
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.exploration import CALCULATORS, RUNNER_VERSION
from aiida_mlip_autopipe.installation.codes import (
    IMAGE_SHA256,
    code_label,
    is_local,
    self_test,
    store_self_test,
    stored_environment,
    stored_tests,
)
from aiida_mlip_autopipe.installation.models import ensure_placed
from aiida_mlip_autopipe.installation.profile import ensure_daemon
from aiida_mlip_autopipe.jobs.contract import CONTRACT_VERSION
from aiida_mlip_autopipe.jobs.environment import Difference, Environment, compare_environments, self_test_command
from aiida_mlip_autopipe.jobs.resources import JobResources
from aiida_mlip_autopipe.workflows.inputs.codes import (
    committee_code,
    descriptor_code,
    job_codes,
    job_options,
    user_python_path,
    uses_learned_descriptors,
)
from aiida_mlip_autopipe.workflows.inputs.models import model_node

Launch = Callable[[ProcessBuilder], orm.CalcJobNode]
Trial = tuple[dict[str, Any], JobResources]
"""The settings of a calculator, and the resources of its self-test."""


@dataclass(frozen=True)
class RepeatedTest:
    """The result of repeating the self-test of a calculator.

    Attributes
    ----------
    code
        The code, as ``label@computer``.
    calculator
        The kind of the calculator.
    environment
        Identity of the environment that its jobs expect.
    report
        The result of the self-test.
    changes
        Differences from the previous environment record; empty if there was no record.
    """

    code: str
    calculator: str
    environment: str
    report: dict[str, Any]
    changes: tuple[Difference, ...]


def repeat_self_tests(
    code: orm.AbstractCode,
    launch: Launch,
    config: CampaignConfig | None = None,
    resources: JobResources | None = None,
) -> Iterator[RepeatedTest]:
    """Repeat the self-tests of a code one by one and record the results. Start the daemon if a job needs it.

    Parameters
    ----------
    code
        The code.
    launch
        Runs a job to its end.
    config
        A campaign with the calculators to test; by default, those of the last self-tests.
    resources
        The resources of a test; by default, those of the campaign or of the last test.

    Raises
    ------
    AutopipeError
        If the code has no known calculator, or a test fails.
    """
    if not is_local(code):
        ensure_daemon()
    for calculator, default in find_trials(code, config):
        before = stored_environment(code, calculator)
        report = record_self_test(code, calculator, resources or default, launch)
        found = Environment.model_validate(report['environment'])
        changes = () if before is None else tuple(compare_environments(before, found))
        yield RepeatedTest(code.full_label, calculator['kind'], found.identity, report, changes)


def find_trials(code: orm.AbstractCode, config: CampaignConfig | None) -> list[Trial]:
    """Return the calculators with which a code should be tested.

    Parameters
    ----------
    code
        The code.
    config
        A campaign that uses the code; its calculators are returned instead of those of the last self-tests.

    Raises
    ------
    AutopipeError
        If no calculator is known.
    """
    if config is not None:
        explorers = job_codes(config)
        further = [
            committee_code(config),
            descriptor_code(config, explorers) if uses_learned_descriptors(config) else None,
        ]
        job_codes_here = [one for one in (*explorers, *further) if one is not None and one.code.pk == code.pk]
        if not job_codes_here:
            raise AutopipeError(
                Code.CODE_WITHOUT_CALCULATOR, f'no calculator in the config uses the code {code.full_label}'
            )
        # The self-test chooses the device.
        return [(one.calculator.model_dump(mode='json', exclude={'device'}), one.resources) for one in job_codes_here]
    trials = [(test['calculator'], JobResources(**test['resources'])) for test in stored_tests(code)]
    kinds = [kind for kind in CALCULATORS if code.label == code_label(kind)]
    trials = trials or [({'kind': kind}, JobResources()) for kind in kinds]
    if not trials:
        raise AutopipeError(
            Code.CODE_WITHOUT_CALCULATOR,
            f'{code.full_label} has not been tested yet, so its calculator is unknown; test it with the calculator of '
            f"a config: '{self_test_command(code.full_label)} --config FILE'",
        )
    return trials


def record_self_test(
    code: orm.AbstractCode, calculator: dict[str, Any], resources: JobResources, launch: Launch
) -> dict[str, Any]:
    """Run the self-test of a calculator with a code, record the result on the code, and return it.

    Parameters
    ----------
    code
        The code.
    calculator
        The settings of the calculator.
    resources
        The resources of the job.
    launch
        Runs a job to its end.

    Raises
    ------
    AutopipeError
        If the test fails.
    """
    runs_here = is_local(code)
    report = self_test(calculator, code) if runs_here else run_self_test_job(code, calculator, launch, resources)
    check_report(report, code.base.extras.get(IMAGE_SHA256, None))
    store_self_test(code, calculator, report, resources.model_dump(mode='json'))
    return report


def run_self_test_job(
    code: orm.AbstractCode, calculator: dict[str, Any], launch: Launch, resources: JobResources
) -> dict[str, Any]:
    """Run the self-test of a calculator as a job, and return its result.

    Raises
    ------
    AutopipeError
        If it fails; the message contains the reason and the folder of the job.
    """
    builder = SelfTestCalculation.get_builder()
    builder.code = code
    settings, model = _place_model(calculator, code)
    if model is not None:
        builder.model = model
    placed = [_place_model(member, code) for member in calculator.get('members', ())]
    if placed:
        settings = {**settings, 'members': [member for member, _ in placed]}
        builder.member_models = {member_name(n): one for n, (_, one) in enumerate(placed) if one is not None}
    builder.calculator = orm.Dict(settings)
    builder.python_path = user_python_path()
    options = job_options(resources, code.computer)
    if resources.gpus_per_job:
        # Apptainer then provides the GPU driver, even if the scheduler does not report the GPU to the job.
        options['environment_variables'] = {'APPTAINER_NV': '1'}
    builder.metadata.options = options
    job = launch(builder)
    if job.is_finished_ok:
        report: dict[str, Any] = job.outputs.report.get_dict()
        return report
    reason = job.exit_message or job.process_status or f'the job is {job.process_state.value}'
    folder = job.outputs.remote_folder.get_remote_path() if 'remote_folder' in job.outputs else 'none'
    raise AutopipeError(
        Code.SELF_TEST_FAILED,
        f'the self-test of the calculator {calculator["kind"]!r} failed with {code.full_label}: {reason} '
        f'(folder of the job on {code.computer.label}: {folder})',
    )


def _place_model(calculator: dict[str, Any], code: orm.AbstractCode) -> tuple[dict[str, Any], ModelData | None]:
    """Copy the model file of a self-test to the computer; return the settings without it, and its node if it exists."""
    if 'model' not in calculator:
        return calculator, None
    parsed = CALCULATORS.load(calculator['kind']).settings_class.model_validate(calculator)
    if CALCULATORS.make(parsed).uses_shipped_model:
        # The code has the shipped model, and the self-test computes its sha256.
        return calculator, None
    model = model_node(parsed, code, test_file=False)
    if model is None:
        return calculator, None
    ensure_placed(model, code, Path(calculator['model']).expanduser())
    return without_models(calculator), model


def check_report(report: dict[str, Any], image_sha256: str | None) -> None:
    """Refuse a code whose contract, runner or image differs from the expected one.

    Raises
    ------
    AutopipeError
        If one of them differs.
    """
    here = {'contract_version': CONTRACT_VERSION, 'runner_version': RUNNER_VERSION}
    differences = [
        f'{name} {report.get(name)} instead of {value}' for name, value in here.items() if report[name] != value
    ]
    if differences:
        raise AutopipeError(
            Code.VERSION_MISMATCH,
            f'the code has version {report["package"]} of this package, with {"; ".join(differences)}; '
            'install the same version there',
        )
    if report['image_sha256'] != image_sha256:
        raise AutopipeError(
            Code.IMAGE_MISMATCH,
            f'the job ran in an image with the sha256 {report["image_sha256"]} instead of {image_sha256}',
        )
