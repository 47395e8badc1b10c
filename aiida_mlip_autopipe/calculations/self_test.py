"""A CalcJob that tests a code; it is submitted and run like every other job."""

from __future__ import annotations

import json
from pathlib import Path

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJob, CalcJobProcessSpec

from aiida_mlip_autopipe.calculations.batch_shell import prepend_text
from aiida_mlip_autopipe.calculations.job import define_failures
from aiida_mlip_autopipe.calculations.model_link import define_models, link_models


class SelfTestCalculation(CalcJob):
    """Runs ``python -m aiida_mlip_autopipe.exploration --self-test`` with the input ``code``."""

    SETTINGS_FILE = 'calculator.json'
    REPORT_FILE = 'self_test.json'
    LOG_FILE = 'self_test.log'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs, outputs and exit codes."""
        super().define(spec)
        spec.input('calculator', valid_type=orm.Dict, help='Settings of the calculator; its `kind` is required.')
        define_models(spec, 'The model to test; by default a model that the calculator ships.')
        spec.input('python_path', valid_type=str, is_metadata=True, default='', help="The user's PYTHONPATH.")
        options = spec.inputs['metadata']['options']
        options['parser_name'].default = 'mlip_autopipe.self_test'
        options['resources'].default = lambda: {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
        options['withmpi'].default = False
        spec.output('report', valid_type=orm.Dict, required=False, help='The report of the self-test.')
        define_failures(spec)
        spec.exit_code(
            301, 'ERROR_REPORT_UNREADABLE', invalidates_cache=True, message='The self-test left no report: {reason}'
        )
        spec.exit_code(320, 'ERROR_SELF_TEST_FAILED', invalidates_cache=True, message='{reason}')

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the settings of the calculator."""
        calculator, links = link_models(self.inputs.calculator.get_dict(), self.inputs, self.inputs.code.computer)
        Path(folder.get_abs_path(self.SETTINGS_FILE)).write_text(json.dumps(calculator))
        code = CodeInfo()
        code.code_uuid = self.inputs.code.uuid
        code.cmdline_params = ['-m', 'aiida_mlip_autopipe.exploration', '--self-test', self.SETTINGS_FILE]
        code.stdout_name = self.REPORT_FILE
        code.stderr_name = self.LOG_FILE

        calculation = CalcInfo()
        calculation.codes_info = [code]
        calculation.prepend_text = prepend_text(self.inputs.code, self.inputs.python_path)
        calculation.remote_symlink_list = links
        calculation.retrieve_list = [self.REPORT_FILE, self.LOG_FILE]
        return calculation
