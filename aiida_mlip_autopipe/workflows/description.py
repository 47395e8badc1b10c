"""The work chain that has the frames of a campaign described, many legs a job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aiida import orm
from aiida.engine import ExitCode, while_
from aiida.engine.processes.workchains.workchain import WorkChainSpec
from ase.data import atomic_numbers

from aiida_mlip_autopipe.calculations.describe import DescriptionCalculation
from aiida_mlip_autopipe.workflows.reuse import reuse_finished
from aiida_mlip_autopipe.workflows.throttle import ThrottledWorkChain

# Frames of a job: of 64 atoms it takes a minute on one core, and its descriptors some 20 MB.
FRAMES_PER_JOB = 10_000


class DescriptionWorkChain(ThrottledWorkChain):
    """Computes each descriptor that is asked for, for all frames."""

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:
        """Define inputs, the outline and exit codes."""
        super().define(spec)
        spec.input_namespace('legs', valid_type=orm.TrajectoryData, help='The frames, by the labels of their legs.')
        spec.input('descriptors', valid_type=orm.List, help='Settings of the descriptors.')
        spec.expose_inputs(DescriptionCalculation, namespace='job', exclude=('legs', 'descriptor', 'species'))
        spec.input('max_concurrent_jobs', valid_type=int, is_metadata=True, help='Jobs in flight at most.')
        spec.input('reuse_finished', valid_type=bool, is_metadata=True, default=False, help='Take jobs from cache.')
        spec.output_namespace('descriptors', valid_type=orm.ArrayData, help='The descriptors, for each job.')
        spec.exit_code(401, 'ERROR_DESCRIPTION', message='Not all frames could be described: {reason}')
        spec.outline(cls.plan, while_(cls.has_unfinished)(cls.fill_slots), cls.gather)

    def plan(self) -> None:
        """Divide the legs among jobs, and let the jobs of each descriptor wait."""
        self.start_empty()
        sizes = {label: leg.base.attributes.get('array|steps')[0] for label, leg in self.inputs.legs.items()}
        chunks = list(enumerate(_chunks(sizes)))
        self.ctx.plan = {
            f'descriptors_{number}_{place}': [number, labels]
            for number in range(len(self.inputs.descriptors.get_list()))
            for place, labels in chunks
        }
        self.ctx.waiting = list(self.ctx.plan)
        symbols = {symbol for leg in self.inputs.legs.values() for symbol in leg.symbols}
        self.ctx.species = orm.List(sorted(atomic_numbers[symbol] for symbol in symbols))

    def submit_one(self, label: str) -> orm.CalcJobNode:
        """Submit a job."""
        number, legs = self.ctx.plan[label]
        descriptor = self.inputs.descriptors.get_list()[number]
        inputs = self.exposed_inputs(DescriptionCalculation, 'job')
        if descriptor['kind'] != 'learned':
            inputs.pop('calculator', None)
        inputs.legs = {leg: self.inputs.legs[leg] for leg in legs}
        inputs.descriptor = orm.Dict(descriptor)
        inputs.species = self.ctx.species
        inputs.metadata['call_link_label'] = label
        with reuse_finished('mlip_autopipe.describe', self.inputs.reuse_finished):
            return self.submit(DescriptionCalculation, inputs)

    def gather(self) -> ExitCode | None:
        """Keep what the jobs have found; without all of it there is nothing to select by."""
        failure = None
        for label, pk in sorted(self.ctx.ended.items()):
            node = orm.load_node(pk)
            if node.is_finished_ok:
                self.out(f'descriptors.{label}', node.outputs.descriptors)
            else:
                failure = node.exit_message or str(node.process_state)
        return None if failure is None else self.exit_codes.ERROR_DESCRIPTION.format(reason=failure)


def _chunks(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield the labels of legs that together have no more frames than a job; one that has more is alone."""
    chunk: list[str] = []
    n_frames = 0
    for label, size in sorted(sizes.items()):
        if chunk and n_frames + size > FRAMES_PER_JOB:
            yield chunk
            chunk, n_frames = [], 0
        chunk.append(label)
        n_frames += size
    if chunk:
        yield chunk
