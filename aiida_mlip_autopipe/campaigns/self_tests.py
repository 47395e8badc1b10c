"""The self-test of a code: a process on this machine, a normal job elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder

from aiida_mlip_autopipe.calculations.self_test import SelfTestCalculation
from aiida_mlip_autopipe.config import CampaignConfig
from aiida_mlip_autopipe.config.execution import JobResources
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.exploration import CALCULATORS, RUNNER_VERSION
from aiida_mlip_autopipe.installation.codes import (
    IMAGE_SHA256,
    code_label,
    is_read_here,
    keep_self_test,
    kept_environment,
    kept_tests,
    self_test,
)
from aiida_mlip_autopipe.installation.models import ensure_placed
from aiida_mlip_autopipe.installation.profile import ensure_daemon
from aiida_mlip_autopipe.jobs.contract import CONTRACT_VERSION
from aiida_mlip_autopipe.jobs.environment import Difference, Environment, compare_environments, self_test_command
from aiida_mlip_autopipe.workflows.inputs.codes import (
    are_learned,
    committee_code,
    descriptor_code,
    job_codes,
    job_options,
    user_python_path,
)
from aiida_mlip_autopipe.workflows.inputs.job_code import OF_THE_MODEL
from aiida_mlip_autopipe.workflows.inputs.models import model_node

Launch = Callable[[ProcessBuilder], orm.CalcJobNode]
Trial = tuple[dict[str, Any], JobResources]
"""Settings of a calculator, and what its self-test asks for."""


@dataclass(frozen=True)
class RepeatedTest:
    """The result of repeating the self-test of a calculator.

    Attributes
    ----------
    code
        The code, as ``label@computer``.
    calculator
        Kind of the calculator.
    environment
        Identity of the environment that its jobs expect.
    report
        What the self-test found.
    changes
        Differences from the environment recorded before; empty if there was none.
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
    """Repeat the self-tests of a code one by one, and record the results; the daemon is started if needed.

    Parameters
    ----------
    code
        The code.
    launch
        Runs a job to its end.
    config
        A campaign whose calculators are tested; by default, the calculators of the last tests.
    resources
        Resources of a test; by default, those of the campaign or of the last test.

    Raises
    ------
    AutopipeError
        If there is nothing to test, or a test fails.
    """
    if not is_read_here(code):
        ensure_daemon()
    for calculator, usual in find_trials(code, config):
        before = kept_environment(code, calculator)
        report = record_self_test(code, calculator, resources or usual, launch)
        found = Environment.model_validate(report['environment'])
        changes = () if before is None else tuple(compare_environments(before, found))
        yield RepeatedTest(code.full_label, calculator['kind'], found.identity, report, changes)


def find_trials(code: orm.AbstractCode, config: CampaignConfig | None) -> list[Trial]:
    """Return the calculators that the self-test of a code should run.

    Parameters
    ----------
    code
        The code.
    config
        A campaign, for its calculators with this code; without it, all calculators that the code was tested with.

    Raises
    ------
    AutopipeError
        If there is none.
    """
    if config is not None:
        explorers = job_codes(config)
        further = [committee_code(config), descriptor_code(config, explorers) if are_learned(config) else None]
        ones = [one for one in (*explorers, *further) if one is not None and one.code.pk == code.pk]
        if not ones:
            raise AutopipeError(Code.CODE_WITHOUT_CALCULATOR, f'the config has no calculator for {code.full_label}')
        # The test finds the device.
        return [(one.calculator.model_dump(mode='json', exclude={'device'}), one.resources) for one in ones]
    trials = [(test['calculator'], JobResources(**test['resources'])) for test in kept_tests(code)]
    kinds = [kind for kind in CALCULATORS if code.label == code_label(kind)]
    trials = trials or [({'kind': kind}, JobResources()) for kind in kinds]
    if not trials:
        raise AutopipeError(
            Code.CODE_WITHOUT_CALCULATOR,
            f'{code.full_label} was not tested before, so it is not known which calculator it runs: '
            f"'{self_test_command(code.full_label)} --config FILE' takes it from a campaign",
        )
    return trials


def record_self_test(
    code: orm.AbstractCode, calculator: dict[str, Any], resources: JobResources, launch: Launch
) -> dict[str, Any]:
    """Run the self-test of a calculator with a code, store its record on the code, and return its result.

    Parameters
    ----------
    code
        The code.
    calculator
        Settings of the calculator.
    resources
        Resources of a job.
    launch
        Runs a job to its end.

    Raises
    ------
    AutopipeError
        If the test fails.
    """
    if is_read_here(code):
        report = self_test(calculator, code)
    else:
        report = run_self_test_job(code, calculator, launch, resources)
    check_report(report, code.base.extras.get(IMAGE_SHA256, None))
    keep_self_test(code, calculator, report, resources.model_dump(mode='json'))
    return report


def run_self_test_job(
    code: orm.AbstractCode, calculator: dict[str, Any], launch: Launch, resources: JobResources
) -> dict[str, Any]:
    """Run the self-test of a calculator as a job, and return its result.

    Raises
    ------
    AutopipeError
        If it fails; the message says where the job ran.
    """
    builder = SelfTestCalculation.get_builder()
    builder.code = code
    model = _model_to_try(calculator, code)
    if model is None:
        builder.calculator = orm.Dict(calculator)
    else:
        others = {name: value for name, value in calculator.items() if name not in OF_THE_MODEL}
        builder.calculator, builder.model = orm.Dict(others), model
    builder.python_path = user_python_path()
    options = job_options(resources, code.computer)
    if resources.gpus_per_job:
        # Not every scheduler reports to a job which GPU it has.
        options['environment_variables'] = {'APPTAINER_NV': '1'}
    builder.metadata.options = options
    job = launch(builder)
    if job.is_finished_ok:
        report: dict[str, Any] = job.outputs.report.get_dict()
        return report
    reason = job.exit_message or job.process_status or f'its job is {job.process_state.value}'
    where = job.outputs.remote_folder.get_remote_path() if 'remote_folder' in job.outputs else 'nowhere'
    raise AutopipeError(
        Code.SELF_TEST_FAILED,
        f'the calculator {calculator["kind"]!r} does not run with {code.full_label}: {reason} '
        f'(its job was in {where} on {code.computer.label})',
    )


def _model_to_try(calculator: dict[str, Any], code: orm.AbstractCode) -> ModelData | None:
    """Return the node of the model file for a self-test, copied to the computer; None if there is no file."""
    if 'model' not in calculator:
        return None
    parsed = CALCULATORS.load(calculator['kind']).settings_class.model_validate(calculator)
    if CALCULATORS.make(parsed).uses_shipped_model:
        # A shipped model comes with the code; the self-test finds its sha256.
        return None
    model = model_node(parsed, code, try_it=False)
    if model is not None:
        ensure_placed(model, code, Path(calculator['model']).expanduser())
    return model


def check_report(report: dict[str, Any], image_sha256: str | None) -> None:
    """Refuse a code with another version of the contract or the runner, or one that ran in another image.

    Raises
    ------
    AutopipeError
        If it is refused.
    """
    here = {'contract_version': CONTRACT_VERSION, 'runner_version': RUNNER_VERSION}
    differ = [f'{name} {report.get(name)}, here it is {value}' for name, value in here.items() if report[name] != value]
    if differ:
        raise AutopipeError(
            Code.VERSION_MISMATCH,
            f'the package there is version {report["package"]} with {"; ".join(differ)}: install the same version',
        )
    if report['image_sha256'] != image_sha256:
        raise AutopipeError(
            Code.IMAGE_MISMATCH,
            f'the job ran in an image of sha256 {report["image_sha256"]}, expected was {image_sha256}',
        )
