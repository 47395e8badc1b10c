"""The environment records of a campaign's codes. Each job has the record of its code as an input and verifies it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiida import orm

from aiida_mlip_autopipe.calculators import CalculatorSettings
from aiida_mlip_autopipe.calculators.base import ModelSettings
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.installation.codes import (
    is_local,
    read_code_environment,
    self_test,
    store_environment,
    store_self_test,
    stored_environment,
)
from aiida_mlip_autopipe.jobs.environment import Environment, compare_environments, self_test_command
from aiida_mlip_autopipe.jobs.resources import JobResources

if TYPE_CHECKING:
    from aiida_mlip_autopipe.workflows.inputs.job_code import JobCode

Notify = Callable[[str], None]


class Environments:
    """The environment records of the codes of a campaign; each record is read once.

    Parameters
    ----------
    notify
        Called with a message for each code whose environment has changed since the last record.
    """

    def __init__(self, notify: Notify = lambda message: None):
        self._notify = notify
        self._records: dict[str, Environment] = {}

    def node(self, job_code: JobCode) -> orm.Dict:
        """Return the environment record of a code for jobs with its calculator.

        Raises
        ------
        AutopipeError
            If the code has no record, its calculator does not run, or a GPU is requested but its self-test found none.
        """
        settings = job_code.calculator.model_dump(mode='json')
        found = self._read_once(job_code.code, settings)
        device = settings.get('device', 'auto')
        device = found.device if device == 'auto' else device
        if device == 'cpu' and settings.get('device') == 'auto' and job_code.resources.gpus_per_job:
            _refuse_idle_gpu(job_code.code, job_code.calculator)
        return _node(
            found.model_copy(update={'device': device, 'threads': expected_threads(job_code.resources, job_code.code)})
        )

    def node_without_calculator(self, job_code: JobCode) -> orm.Dict:
        """Return the environment record of a code for jobs without a calculator.

        Raises
        ------
        AutopipeError
            If the code has no record.
        """
        found = self._read_once(job_code.code, {}).without_calculator()
        return _node(found.model_copy(update={'threads': expected_threads(job_code.resources, job_code.code)}))

    def _read_once(self, code: orm.AbstractCode, calculator: dict[str, Any]) -> Environment:
        key = f'{code.pk} {calculator}'
        if key not in self._records:
            self._records[key] = find_environment(code, calculator, self._notify)
        return self._records[key]


def find_environment(code: orm.AbstractCode, calculator: dict[str, Any], notify: Notify) -> Environment:
    """Return the environment record of a code: the current one on this machine, otherwise that of its last self-test.

    Parameters
    ----------
    code
        The code.
    calculator
        Settings of the calculator; empty for jobs without one.
    notify
        Called with a message if the record has changed.

    Raises
    ------
    AutopipeError
        If the record does not exist, and the code is on another computer.
    """
    recorded = stored_environment(code, calculator)
    if not is_local(code):
        if recorded is None:
            option = ' --config FILE' if calculator.get('kind') in ('committee', 'custom') else ''
            raise AutopipeError(
                Code.ENVIRONMENT_MISSING,
                f'the environment of {code.full_label} is not recorded for the calculator '
                f"{calculator.get('kind')!r}; '{self_test_command(code.full_label)}{option}' records it",
            )
        return recorded
    if not calculator:
        return read_code_environment(code, calculator)
    if recorded is None:
        # The self-test determines the device.
        calculator = {name: value for name, value in calculator.items() if name != 'device'}
        report = self_test(calculator, code)
        store_self_test(code, calculator, report)
        return Environment.model_validate(report['environment'])
    now = read_code_environment(code, calculator).model_copy(
        update={'device': recorded.device, 'threads': recorded.threads}
    )
    changes = compare_environments(recorded, now)
    if changes:
        store_environment(code, calculator, now)
        listed = ', '.join(f'{change.name} {change.shown}' for change in changes)
        notify(f'{code.full_label}: {listed}; results of the previous environment are not reused')
    return now


def expected_threads(resources: JobResources, code: orm.AbstractCode) -> int:
    """Return the number of threads of a job. Without a scheduler, it is at most the number of cores of this machine."""
    computer = code.computer
    if (computer.transport_type, computer.scheduler_type) == ('core.local', 'core.direct'):
        return min(resources.cpus_per_job, len(os.sched_getaffinity(0)))
    return resources.cpus_per_job


def _refuse_idle_gpu(code: orm.AbstractCode, calculator: CalculatorSettings) -> None:
    if any(isinstance(one, ModelSettings) for one in (calculator, *getattr(calculator, 'members', ()))):
        raise AutopipeError(
            Code.GPU_MISSING,
            f'gpus_per_job requests a GPU, but the self-test of {code.full_label} found none; '
            f"repeat it with '{self_test_command(code.full_label)} gpus_per_job=1', or set calculator.device",
        )


def _node(environment: Environment) -> orm.Dict:
    return orm.Dict(environment.model_dump(mode='json'))
