"""The work chain that labels one structure with a process of another plugin."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ToContext

from aiida_mlip_autopipe.aiida_internals import WorkChainSpec
from aiida_mlip_autopipe.calculations.processes import base
from aiida_mlip_autopipe.calculations.processes.base import PROCESSES_VERSION, ProcessKind, record_of, refusal_record
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.labels import LabelsData
from aiida_mlip_autopipe.workflows.submit_once import SubmitOnceWorkChain

PROCESS = 'process'
KINDS = ('espresso', 'ase')


def process_kind(kind: str) -> ProcessKind:
    """Return the process of a labeller."""
    found: ProcessKind = import_module(f'{base.__package__}.{kind}').KIND
    return found


class ProcessLabellingWorkChain(SubmitOnceWorkChain):
    """Labels one structure, or computes one isolated atom.

    It has the same outputs as a labelling job of this program, which labels many structures. If the process fails to
    compute the structure, the output ``labels`` contains a record of the failure, as for such a job.
    """

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:
        """Define inputs, outputs, the outline and exit codes."""
        super().define(spec)
        spec.input('kind', valid_type=orm.Str, validator=_validate_kind, help='The labeller: espresso or ase.')
        spec.input('dataset', valid_type=DatasetData, required=False, help='The dataset with the structure.')
        spec.input('item', valid_type=(orm.Int, orm.Str), help='Index of a row, or the symbol of an isolated atom.')
        spec.input('settings', valid_type=orm.Dict, help='The settings that determine the label.')
        spec.input('versions', valid_type=orm.Dict, help='Versions of the code and hashes of its pseudopotentials.')
        spec.input('variant', valid_type=orm.Str, default=lambda: orm.Str(''), help='What a repeated run changes.')
        spec.input('code', valid_type=orm.AbstractCode, help='The code of the plugin.')
        spec.input_namespace('pseudos', valid_type=orm.Data, help='The pseudopotential of each element.')
        spec.input('options', valid_type=dict, is_metadata=True, help='The options of the jobs.')
        spec.input(
            'time_limit_s',
            valid_type=float,
            required=False,
            is_metadata=True,
            help='Time limit for the structure in seconds.',
        )
        spec.output('labels', valid_type=LabelsData, help='The label.')
        spec.exit_code(401, 'ERROR_KILLED', message='The process was killed or raised an exception.')
        spec.exit_code(402, 'ERROR_ISOLATED_ATOM', message='The isolated atom could not be computed: {reason}')
        spec.outline(cls.run_process, cls.collect)

    @property
    def kind(self) -> ProcessKind:
        """The process."""
        return process_kind(self.inputs.kind.value)

    def _shared(self) -> dict[str, Any]:
        """Return the inputs of the calcfunctions before and after the process."""
        names = ('dataset', 'item', 'settings', 'versions', 'variant')
        nodes = {name: self.inputs[name] for name in names if name in self.inputs}
        return {**nodes, 'stage_version': orm.Str(PROCESSES_VERSION)}

    def run_process(self) -> ToContext | None:
        """Submit the process."""
        inputs, pseudos = self._shared(), self.inputs.get('pseudos', {})
        if pseudos:
            valences = {symbol: pseudo.base.attributes.get('z_valence') for symbol, pseudo in pseudos.items()}
            inputs['valences'] = orm.Dict(valences)
        prepared, node = self.kind.prepare.run_get_node(**inputs)
        if not node.is_finished_ok:
            self.ctx.refusal = node.exit_message
            return None
        limit_s = self.inputs.get('time_limit_s')
        inputs = self.kind.inputs(prepared, self.inputs.code, self.inputs.options, pseudos, limit_s)
        inputs['metadata'] = {**inputs.get('metadata', {}), 'call_link_label': PROCESS}
        return ToContext(process=self.submit(self.kind.process_class(), inputs))

    def collect(self) -> ExitCode | None:
        """Make the node of the label."""
        outputs = {}
        if 'process' not in self.ctx:
            record = refusal_record(self.ctx.refusal)
        elif not self.ctx.process.is_finished:
            return self.exit_codes.ERROR_KILLED
        else:
            node = self.ctx.process
            record = record_of(self.kind, node, _count_cores(self.inputs.options['resources']))
            outputs = {name: node.outputs[name] for name in self.kind.outputs if name in node.outputs}
        if isinstance(self.inputs.item, orm.Str) and 'rule' in record.get_dict():
            return self.exit_codes.ERROR_ISOLATED_ATOM.format(reason=record['reason'])
        labels = self.kind.collect(**self._shared(), record=record, **outputs)
        self.out('labels', labels)
        return None


def _count_cores(resources: Mapping[str, Any]) -> int:
    return int(resources.get('num_machines', 1) * resources.get('num_mpiprocs_per_machine', 1))


def _validate_kind(value: orm.Str, port: Any) -> str | None:
    return None if value.value in KINDS else f'kind: got {value.value!r}; must be one of {", ".join(KINDS)}'
