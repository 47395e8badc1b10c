"""The environment record of each code of a campaign, which its jobs get as an input and verify."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiida import orm

from aiida_mlip_autopipe.calculators import CalculatorSettings
from aiida_mlip_autopipe.calculators.base import ModelSettings
from aiida_mlip_autopipe.config.execution import JobResources
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.installation.codes import (
    ask_environment,
    is_read_here,
    keep_environment,
    keep_self_test,
    kept_environment,
    self_test,
)
from aiida_mlip_autopipe.jobs.environment import Environment, compare_environments, self_test_command

if TYPE_CHECKING:
    from aiida_mlip_autopipe.workflows.inputs.job_code import JobCode

Tell = Callable[[str], None]


class Environments:
    """The environment records of the codes of one campaign; records that codes share are read once.

    Parameters
    ----------
    tell
        Called with a message for each code whose environment has changed since it was last recorded.
    """

    def __init__(self, tell: Tell = lambda sentence: None):
        self._tell = tell
        self._found: dict[str, Environment] = {}

    def node(self, one: JobCode) -> orm.Dict:
        """Return the record of a code as an input of jobs with its calculator.

        Raises
        ------
        AutopipeError
            If the code has no record, or no GPU although one is requested, or its calculator does not run.
        """
        settings = one.calculator.model_dump(mode='json')
        found = self._once(one.code, settings)
        device = settings.get('device', 'auto')
        device = found.device if device == 'auto' else device
        if device == 'cpu' and settings.get('device') == 'auto' and one.resources.gpus_per_job:
            _refuse_idle_gpu(one.code, one.calculator)
        return _node(found.model_copy(update={'device': device, 'threads': expected_threads(one.resources, one.code)}))

    def node_without_calculator(self, one: JobCode) -> orm.Dict:
        """Return the record of a code as an input of jobs without a calculator.

        Raises
        ------
        AutopipeError
            If the code has no record.
        """
        found = self._once(one.code, {}).without_calculator()
        return _node(found.model_copy(update={'threads': expected_threads(one.resources, one.code)}))

    def _once(self, code: orm.AbstractCode, calculator: dict[str, Any]) -> Environment:
        key = f'{code.pk} {calculator}'
        if key not in self._found:
            self._found[key] = find_environment(code, calculator, self._tell)
        return self._found[key]


def find_environment(code: orm.AbstractCode, calculator: dict[str, Any], tell: Tell) -> Environment:
    """Return the record of a code: the current one on this machine, that of its last self-test elsewhere.

    Parameters
    ----------
    code
        The code.
    calculator
        Settings of the calculator; empty for a job without one.
    tell
        Called with a message if the record has changed.

    Raises
    ------
    AutopipeError
        If there is no record and the calculator cannot be tested from here.
    """
    kept = kept_environment(code, calculator)
    if not is_read_here(code):
        if kept is None:
            option = ' --config FILE' if calculator.get('kind') == 'custom' else ''
            raise AutopipeError(
                Code.ENVIRONMENT_MISSING,
                f'the environment of {code.full_label} is not recorded for the calculator '
                f"{calculator.get('kind')!r}; '{self_test_command(code.full_label)}{option}' records it",
            )
        return kept
    if not calculator:
        return ask_environment(code, calculator)
    if kept is None:
        # The test finds the device.
        calculator = {name: value for name, value in calculator.items() if name != 'device'}
        report = self_test(calculator, code)
        keep_self_test(code, calculator, report)
        return Environment.model_validate(report['environment'])
    now = ask_environment(code, calculator).model_copy(update={'device': kept.device, 'threads': kept.threads})
    changes = compare_environments(kept, now)
    if changes:
        keep_environment(code, calculator, now)
        told = ', '.join(f'{change.name} {change.shown}' for change in changes)
        tell(f'{code.full_label}: {told}; what was computed in the former environment is not reused')
    return now


def expected_threads(resources: JobResources, code: orm.AbstractCode) -> int:
    """Return the number of threads that a job will get: without a scheduler, at most the cores of this machine."""
    computer = code.computer
    if (computer.transport_type, computer.scheduler_type) == ('core.local', 'core.direct'):
        return min(resources.cpus_per_job, len(os.sched_getaffinity(0)))
    return resources.cpus_per_job


def _refuse_idle_gpu(code: orm.AbstractCode, calculator: CalculatorSettings) -> None:
    if isinstance(calculator, ModelSettings):
        raise AutopipeError(
            Code.GPU_MISSING,
            f'gpus_per_job requests a GPU, but the self-test of {code.full_label} found none: '
            f"'{self_test_command(code.full_label)} gpus_per_job=1' repeats the test with a GPU, "
            'calculator.device overrides it',
        )


def _node(environment: Environment) -> orm.Dict:
    return orm.Dict(environment.model_dump(mode='json'))
