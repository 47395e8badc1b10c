"""The base of the package's jobs: a calculator, its environment, and the shared exit codes."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.engine import CalcJob, CalcJobProcessSpec

from aiida_mlip_autopipe.calculations import validators
from aiida_mlip_autopipe.calculations.batch_shell import prepend_text
from aiida_mlip_autopipe.calculations.model_link import RemoteLink, define_models, link_models
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.jobs.environment import Environment
from aiida_mlip_autopipe.jobs.failures import FAILURES


def define_failures(spec: CalcJobProcessSpec) -> None:
    """Define the exit codes of failures outside the program. Jobs that ended with one of them are never cached."""
    for status, label, message in FAILURES:
        spec.exit_code(status, label, message=message, invalidates_cache=True)


class CalculatorJob(CalcJob):
    """A job that runs a module of this package with the input ``code`` and, except for selections, a calculator."""

    LOG_FILE = 'exploration.log'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the inputs of the calculator, and the exit codes that all these jobs share."""
        super().define(spec)
        spec.input('calculator', valid_type=orm.Dict, help='Settings of the calculator, without its model.')
        define_models(spec, 'The model; its file must be on the computer of the code.')
        spec.input('environment', valid_type=orm.Dict, help='The environment record, which the job verifies.')
        spec.input('image_sha256', valid_type=orm.Str, required=False, help='sha256 of the image, if the code has one.')
        spec.input(
            'python_path',
            valid_type=str,
            is_metadata=True,
            default='',
            help="The user's PYTHONPATH, for jobs on this machine. The environment record covers its packages.",
        )
        validators.set_validators(spec.inputs, validators.JOB, validators.calculator)
        options = spec.inputs['metadata']['options']
        options['resources'].default = lambda: {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
        options['withmpi'].default = False
        spec.output('result', valid_type=orm.Dict, required=False, help='The result file of the job.')
        for status, label, message in (
            (300, 'ERROR_RESULT_MISSING', 'The job left no result.'),
            (301, 'ERROR_RESULT_UNREADABLE', 'The result cannot be read: {reason}'),
            (302, 'ERROR_TRAJECTORY_MISSING', 'The trajectory is missing, although the result reports frames.'),
            (303, 'ERROR_TRAJECTORY_UNREADABLE', 'The trajectory cannot be read: {reason}'),
            (310, 'ERROR_CONTRACT_VERSION', 'The submitting package and the job have different versions: {reason}'),
            (311, 'ERROR_SETTINGS_REFUSED', 'The job refused its settings: {reason}'),
            (320, 'ERROR_CALCULATOR_MISSING', 'The calculator cannot be imported: {reason}'),
            (321, 'ERROR_MODEL_NOT_LOADED', 'The model cannot be loaded: {reason}'),
            (322, 'ERROR_MODEL_MISMATCH', 'The model or the image is not the expected one: {reason}'),
            (323, 'ERROR_ELEMENT_UNSUPPORTED', 'The calculator does not support an element: {reason}'),
            (
                324,
                'ERROR_ENVIRONMENT_CHANGED',
                'The environment differs from its record: {reason}; {remedy} records the current environment',
            ),
            (325, 'ERROR_MODEL_MISSING', 'The model is no longer on the computer: {reason}'),
            (350, 'ERROR_RUNNER_RAISED', 'The program of the job failed: {reason}'),
        ):
            spec.exit_code(status, label, message=message, invalidates_cache=True)
        define_failures(spec)

    def _link_models(self) -> tuple[dict[str, Any], list[RemoteLink]]:
        """Return the settings of the calculator with its models, and the links that the job's folder needs."""
        return link_models(self.inputs.calculator.get_dict(), self.inputs, self.inputs.code.computer)

    def _shared_fields(self) -> dict[str, Any]:
        """Return the fields of ``job.json`` that all jobs share."""
        return {
            'environment': Environment.model_validate(self.inputs.environment.get_dict()),
            'image_sha256': self.inputs.image_sha256.value if 'image_sha256' in self.inputs else None,
            'max_wallclock_s': self.inputs.metadata.options.get('max_wallclock_seconds'),
        }

    def _make_calc_info(self, *arguments: str, module: str = 'aiida_mlip_autopipe.exploration') -> CalcInfo:
        """Return what AiiDA runs (a module with arguments) and retrieves (its result and its log)."""
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


class CheckpointedJob(CalculatorJob):
    """A job that another one can continue from its checkpoint."""

    @classmethod
    def is_valid_cache(cls, node: orm.ProcessNode) -> bool:
        """Return whether a job may be reused. A job that was stopped before its first step must not be reused.

        Otherwise, a resubmitted job would get the same failure from the cache.
        """
        stopped = (cls.exit_codes.ERROR_OUT_OF_WALLTIME.status, cls.exit_codes.ERROR_KILLED.status)
        if node.exit_status in stopped and not contract.has_progressed(node.outputs.result.get_dict()):
            return False
        return bool(super().is_valid_cache(node))

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the checkpoints, and the exit codes of jobs that end early."""
        super().define(spec)
        checkpoint = {'valid_type': orm.SinglefileData, 'required': False}
        spec.input('checkpoint', **checkpoint, help='The last state of the previous job.')
        spec.output('checkpoint', **checkpoint, help='The last state of this job.')
        spec.exit_code(
            304,
            'ERROR_CHECKPOINT_UNREADABLE',
            message='The checkpoint cannot be read, so this job is discarded: {reason}',
            invalidates_cache=True,
        )
        spec.exit_code(
            400, 'ERROR_OUT_OF_WALLTIME', message='The job stopped before its last step; its checkpoint is attached.'
        )
        spec.exit_code(401, 'ERROR_KILLED', message='The job was killed; its last checkpoint is attached.')
