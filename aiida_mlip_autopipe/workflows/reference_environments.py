"""The step of a campaign that computes the environments of the reference dataset of its explorations."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode
from ase.data import atomic_numbers

from aiida_mlip_autopipe.aiida_internals import use_cache
from aiida_mlip_autopipe.calculations.describe_reference import describe_reference
from aiida_mlip_autopipe.calculations.explore import entry_key, read_settings
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.exploration import AnyExploration
from aiida_mlip_autopipe.exploration.novelty.reference import REFERENCE_VERSION, check_limit
from aiida_mlip_autopipe.exploration.settings.novelty import DistanceSettings, reference_of
from aiida_mlip_autopipe.workflows.throttle import ThrottledWorkChain


class ReferenceWorkChain(ThrottledWorkChain):
    """Computes the environments of a reference dataset, once for all seeds that need the same descriptor."""

    def describe_reference(self) -> ExitCode | None:
        """Compute the environments that the seeds are compared with."""
        self.ctx.reference_environments = {}
        for label in self.ctx.seeds if 'novelty_reference_dataset' in self.inputs else ():
            novelty = read_settings(self._settings_inputs(label)).novelty
            if not isinstance(novelty, DistanceSettings) or novelty.reference_dataset is None:
                continue
            key = self._reference_key(label)
            if key in self.ctx.reference_environments:
                continue
            outputs, node = self._call(describe_reference, **self._reference_inputs(label, novelty))
            if not node.is_finished_ok:
                return self.exit_codes.ERROR_REFERENCE_DATASET.format(reason=node.exit_message)
            report = outputs['report'].get_dict()
            try:
                check_limit(novelty.limit, report['threshold'])
            except AutopipeError as error:
                return self.exit_codes.ERROR_REFERENCE_DATASET.format(reason=str(error))
            self.ctx.reference_environments[key] = outputs['environments'].pk
            self.report(_describe(report))
        return None

    def reference_input(self, label: str, settings: AnyExploration) -> dict[str, orm.SinglefileData]:
        """Return the environments of the reference dataset as an input of a seed's jobs; empty without one."""
        if reference_of(settings.novelty) is None:
            return {}
        return {'reference_environments': orm.load_node(self.ctx.reference_environments[self._reference_key(label)])}

    def _settings_inputs(self, label: str) -> dict[str, Any]:
        """Return the inputs of a seed's jobs that are its settings."""
        *_, entry = self.ctx.places[label]
        return {**self.inputs.job, **self.inputs.get('overrides', {}).get(entry_key(entry), {})}

    def _species(self, label: str) -> list[int]:
        """Return the atomic numbers of the elements of the reference dataset and of a seed."""
        symbols = set(self.inputs.novelty_reference_dataset.base.attributes.get('elements'))
        symbols |= orm.load_node(self.ctx.seeds[label]).get_symbols_set()
        return sorted(atomic_numbers[symbol] for symbol in symbols)

    def _reference_key(self, label: str) -> str:
        return '_'.join(map(str, self._species(label)))

    def _reference_inputs(self, label: str, novelty: DistanceSettings) -> dict[str, orm.Data]:
        quantile = novelty.threshold_quantile
        return {
            'reference_dataset': self.inputs.novelty_reference_dataset,
            'descriptor': orm.Dict(novelty.descriptor.model_dump(mode='json')),
            'species': orm.List(self._species(label)),
            'stage_version': orm.Str(REFERENCE_VERSION),
            **({} if quantile is None else {'threshold_quantile': orm.Float(quantile)}),
        }

    def _call(self, function: Any, **inputs: orm.Data) -> tuple[dict[str, orm.Data], orm.CalcFunctionNode]:
        with use_cache(f'mlip_autopipe.{function.__name__}', self.inputs.reuse_finished):
            outputs, node = function.run_get_node(**inputs)
        return outputs, node


def _describe(report: dict[str, Any]) -> str:
    used = ', '.join(f'{n} of {report["n_environments"][symbol]} {symbol}' for symbol, n in report['n_used'].items())
    threshold = '' if report['threshold'] is None else f'; the threshold is {report["threshold"]:.4g}'
    return f'environments of the reference dataset that are compared: {used}{threshold}'
