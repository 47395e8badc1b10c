"""The step of a campaign that computes the environments of the reference dataset of its explorations."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from aiida import orm
from aiida.engine import ExitCode
from ase.data import atomic_numbers

from aiida_mlip_autopipe.calculations.describe_reference import describe_reference
from aiida_mlip_autopipe.calculations.explore import entry_key, read_settings
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.descriptors import DESCRIPTORS_VERSION
from aiida_mlip_autopipe.exploration.novelty.reference import REFERENCE_VERSION, check_limit
from aiida_mlip_autopipe.exploration.settings.novelty import DistanceSettings
from aiida_mlip_autopipe.workflows.throttle import ThrottledWorkChain


@dataclass(frozen=True)
class ReferenceComparison:
    """The environments of a reference dataset that explorations are compared with.

    Attributes
    ----------
    elements
        The elements of the reference dataset and of the seeds.
    n_environments, n_used
        Number of environments of each element in the dataset, and how many of them are used.
    threshold
        The threshold of the novelty if it is a quantile of the distances within the dataset; None otherwise.
    """

    elements: tuple[str, ...]
    n_environments: dict[str, int]
    n_used: dict[str, int]
    threshold: float | None

    @classmethod
    def from_report(cls, report: Mapping[str, Any]) -> ReferenceComparison:
        """Return the content of the report of `describe_reference`."""
        return cls(tuple(report['elements']), report['n_environments'], report['n_used'], report['threshold'])

    def describe(self) -> str:
        """Return it as text."""
        used = [f'{symbol}: {n} of {self.n_environments[symbol]}' for symbol, n in self.n_used.items()]
        text = f'environments of the reference dataset that are used: {", ".join(used)}'
        if self.threshold is None:
            return text
        return f'{text}; the threshold is {self.threshold:.4g} (elements {", ".join(self.elements)})'


class ReferenceWorkChain(ThrottledWorkChain):
    """Computes the environments of a reference dataset, once for all seeds that need the same ones."""

    def describe_reference(self) -> ExitCode | None:
        """Compute the environments that the seeds are compared with."""
        self.ctx.reference_environments = {}
        computed: dict[Hashable, dict[str, orm.Data]] = {}
        for label in self.ctx.seeds if 'novelty_reference_dataset' in self.inputs else ():
            novelty = read_settings(self._settings_inputs(label)).novelty
            if not isinstance(novelty, DistanceSettings) or novelty.reference_dataset is None:
                continue
            species = self._species(label)
            key = species, novelty.descriptor, novelty.threshold_quantile
            if key not in computed:
                outputs, node = self.call(describe_reference, **self._reference_inputs(species, novelty))
                if not node.is_finished_ok:
                    return self.exit_codes.ERROR_REFERENCE_DATASET.format(reason=node.exit_message)
                computed[key] = outputs
                comparison = ReferenceComparison.from_report(outputs['report'].get_dict())
                self.report(f'novelty: {comparison.describe()}')
            try:
                check_limit(novelty.limit, computed[key]['report']['threshold'])
            except AutopipeError as error:
                return self.exit_codes.ERROR_REFERENCE_DATASET.format(reason=str(error))
            self.ctx.reference_environments[label] = computed[key]['environments'].pk
        return None

    def reference_input(self, label: str) -> dict[str, orm.SinglefileData]:
        """Return the environments of the reference dataset as an input of a seed's jobs; empty without one."""
        pk = self.ctx.reference_environments.get(label)
        return {} if pk is None else {'reference_environments': orm.load_node(pk)}

    def _settings_inputs(self, label: str) -> dict[str, Any]:
        """Return the inputs of a seed's jobs that are its settings."""
        *_, entry = self.ctx.places[label]
        return {**self.inputs.job, **self.inputs.get('overrides', {}).get(entry_key(entry), {})}

    def _species(self, label: str) -> tuple[int, ...]:
        """Return the atomic numbers of the elements of the reference dataset and of a seed."""
        symbols = set(self.inputs.novelty_reference_dataset.base.attributes.get('elements'))
        symbols |= orm.load_node(self.ctx.seeds[label]).get_symbols_set()
        return tuple(sorted(atomic_numbers[symbol] for symbol in symbols))

    def _reference_inputs(self, species: tuple[int, ...], novelty: DistanceSettings) -> dict[str, orm.Data]:
        quantile = novelty.threshold_quantile
        return {
            'reference_dataset': self.inputs.novelty_reference_dataset,
            'descriptor': orm.Dict(novelty.descriptor.model_dump(mode='json')),
            'species': orm.List(list(species)),
            'stage_version': orm.Str(f'{REFERENCE_VERSION}.{DESCRIPTORS_VERSION}'),
            **({} if quantile is None else {'threshold_quantile': orm.Float(quantile)}),
        }
