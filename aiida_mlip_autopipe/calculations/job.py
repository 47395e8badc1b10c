"""What the jobs of this package have in common: a calculator, its environment, and the ways to fail."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.engine import CalcJob, CalcJobProcessSpec

from aiida_mlip_autopipe.calculations import validators
from aiida_mlip_autopipe.calculations.batch_shell import prepend_text
from aiida_mlip_autopipe.calculations.model_link import RemoteLink, link_model
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.jobs.environment import Environment
from aiida_mlip_autopipe.jobs.failures import FAILURES


def define_failures(spec: CalcJobProcessSpec) -> None:
    """Define the exit codes of these failures; none of them serves as cache."""
    for status, label, message in FAILURES:
        spec.exit_code(status, label, message=message, invalidates_cache=True)


class CalculatorJob(CalcJob):
    """A job that runs ``python -m aiida_mlip_autopipe.exploration`` with one calculator and the given code."""

    LOG_FILE = 'exploration.log'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the inputs of the calculator, and an exit code for each way to fail that all jobs have."""
        super().define(spec)
        spec.input('calculator', valid_type=orm.Dict, help='Settings of the calculator, without its model.')
        spec.input('model', valid_type=ModelData, required=False, help='The model, placed where the code runs.')
        spec.input('environment', valid_type=orm.Dict, help='The record of the environment that the job must find.')
        spec.input(
            'image_sha256', valid_type=orm.Str, required=False, help='sha256 of the image, where the code has one.'
        )
        spec.input(
            'python_path',
            valid_type=str,
            is_metadata=True,
            default='',
            help="The user's PYTHONPATH, for jobs on this machine. What is found on it is in the environment record.",
        )
        validators.guard(spec.inputs, validators.JOB, validators.calculator)
        options = spec.inputs['metadata']['options']
        options['resources'].default = lambda: {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
        options['withmpi'].default = False
        spec.output('result', valid_type=orm.Dict, required=False, help='What the job says of itself.')
        for status, label, message in (
            (300, 'ERROR_RESULT_MISSING', 'The job left no result.'),
            (301, 'ERROR_RESULT_UNREADABLE', 'The result cannot be read: {reason}'),
            (302, 'ERROR_TRAJECTORY_MISSING', 'The job left no trajectory though its result speaks of frames.'),
            (303, 'ERROR_TRAJECTORY_UNREADABLE', 'The trajectory cannot be read: {reason}'),
            (310, 'ERROR_CONTRACT_VERSION', 'The two sides have different versions: {reason}'),
            (311, 'ERROR_SETTINGS_REFUSED', 'The job refused its settings: {reason}'),
            (320, 'ERROR_CALCULATOR_MISSING', 'The calculator cannot be imported: {reason}'),
            (321, 'ERROR_MODEL_NOT_LOADED', 'The model cannot be loaded: {reason}'),
            (322, 'ERROR_MODEL_MISMATCH', 'The model or image is not the one expected: {reason}'),
            (323, 'ERROR_ELEMENT_UNSUPPORTED', 'The calculator does not know an element: {reason}'),
            (
                324,
                'ERROR_ENVIRONMENT_CHANGED',
                'The environment differs from the recorded one: {reason}; {remedy} records the current one',
            ),
            (325, 'ERROR_MODEL_MISSING', 'The model is no longer on the computer: {reason}'),
            (350, 'ERROR_RUNNER_RAISED', 'The runner raised: {reason}'),
        ):
            spec.exit_code(status, label, message=message, invalidates_cache=True)
        define_failures(spec)

    def _link_model(self) -> tuple[dict[str, Any], list[RemoteLink]]:
        """Return the settings of the calculator with its model, and the links that the job's folder needs."""
        model = self.inputs.get('model')
        return link_model(self.inputs.calculator.get_dict(), model, self.inputs.code.computer)

    def _told_to_all(self) -> dict[str, Any]:
        """Return the fields of ``job.json`` that all kinds of job share."""
        return {
            'environment': Environment.model_validate(self.inputs.environment.get_dict()),
            'image_sha256': self.inputs.image_sha256.value if 'image_sha256' in self.inputs else None,
            'max_wallclock_s': self.inputs.metadata.options.get('max_wallclock_seconds'),
        }

    def _call_runner(self, *arguments: str, module: str = 'aiida_mlip_autopipe.exploration') -> CalcInfo:
        """Return what AiiDA is to run and to retrieve: a module with arguments, its result and its log."""
        code = CodeInfo()
        code.code_uuid = self.inputs.code.uuid
        code.cmdline_params = ['-m', module, *arguments]
        code.stdout_name = self.LOG_FILE
        code.join_files = True
        calculation = CalcInfo()
        calculation.codes_info = [code]
        threads, device = (self.inputs.environment.get(name) for name in ('threads', 'device'))
        calculation.prepend_text = prepend_text(self.inputs.code, self.inputs.python_path, threads, device)
        calculation.retrieve_list = [contract.RESULT_FILE, self.LOG_FILE]
        return calculation
