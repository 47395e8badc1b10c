"""The work chain that computes the descriptors of a campaign's frames. Each job describes many legs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, while_
from ase.data import atomic_numbers

from aiida_mlip_autopipe import sampling
from aiida_mlip_autopipe.aiida_internals import WorkChainSpec, use_cache
from aiida_mlip_autopipe.calculations import validators
from aiida_mlip_autopipe.calculations.descriptors import DescriptorsCalculation
from aiida_mlip_autopipe.calculations.fit_environments import fit_environments
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.trajectory import link_labels, sort_trajectories, trajectory_id
from aiida_mlip_autopipe.descriptors.describe import required_descriptors
from aiida_mlip_autopipe.jobs.environment import Environment
from aiida_mlip_autopipe.workflows.throttle import ThrottledWorkChain

# Maximum number of frames per job. With 64 atoms each, the job takes a minute on one core and returns about 20 MB.
FRAMES_PER_JOB = 10_000
# Maximum number of atoms per job that describes each atom. Such a job takes half a minute and returns 80 MB for 64
# components, or 210 MB for 168.
ENVIRONMENTS_PER_JOB = 320_000


class DescriptorsWorkChain(ThrottledWorkChain):
    """Computes the requested descriptors for all frames."""

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:
        """Define inputs, the outline and exit codes."""
        super().define(spec)
        spec.input_namespace('legs', valid_type=orm.TrajectoryData, help='The frames.')
        spec.input(
            'descriptors',
            valid_type=orm.List,
            help='What to compute: a list of mappings with `of` (what to describe) and `descriptor`.',
        )
        spec.input(
            'reference_dataset', valid_type=DatasetData, required=False, help='Structures to describe in addition.'
        )
        spec.expose_inputs(
            DescriptorsCalculation,
            namespace='job',
            exclude=('legs', 'reference_dataset', 'descriptor', 'species', 'pca'),
        )
        spec.input('max_concurrent_jobs', valid_type=int, is_metadata=True, help='Maximum number of concurrent jobs.')
        spec.input('reuse_finished', valid_type=bool, is_metadata=True, default=False, help='Take jobs from the cache.')
        validators.set_validators(spec.inputs, validators.DESCRIPTORS_WORK_CHAIN, validators.descriptors_work_chain)
        spec.output_namespace('descriptors', valid_type=orm.ArrayData, help='The descriptors, for each job.')
        spec.exit_code(401, 'ERROR_DESCRIPTORS', message='Descriptors could not be computed: {reason}')
        spec.outline(cls.plan, while_(cls.has_unfinished)(cls.fill_slots), cls.gather)

    def plan(self) -> ExitCode | None:
        """Distribute the legs over jobs, for each descriptor, and queue the jobs."""
        self.start_empty()
        legs = sort_trajectories(self.inputs.legs.values())
        self.ctx.legs = {trajectory_id(leg): leg.pk for leg in legs}
        shapes = {trajectory_id(leg): leg.get_shape('positions') for leg in legs}
        self.ctx.plan, self.ctx.pcas = {}, {}
        species = {atomic_numbers[symbol] for leg in self.inputs.legs.values() for symbol in leg.symbols}
        if 'reference_dataset' in self.inputs:
            species |= {
                atomic_numbers[symbol] for symbol in self.inputs.reference_dataset.base.attributes.get('elements')
            }
        self.ctx.species = orm.List(sorted(species))
        # SOAP jobs get a record without the calculator, so that a request for learned descriptors does not change their
        # inputs.
        environment = Environment.model_validate(self.inputs.job.environment.get_dict()).without_calculator()
        self.ctx.environment = orm.Dict(environment.model_dump(mode='json'))
        for number, request in enumerate(self.inputs.descriptors.get_list()):
            if request['of'] == 'environments':
                sizes = {name: n_frames * n_atoms for name, (n_frames, n_atoms, _) in shapes.items()}
                chunks = list(_chunks(sizes, ENVIRONMENTS_PER_JOB))
                failure = self._fit_environments(number, request['descriptor'])
                if failure is not None:
                    return failure
            else:
                sizes = {name: n_frames for name, (n_frames, _, _) in shapes.items()}
                chunks = list(_chunks(sizes, FRAMES_PER_JOB))
            self.ctx.plan |= {f'descriptors_{number}_{place}': [number, ids] for place, ids in enumerate(chunks)}
            if 'reference_dataset' in self.inputs:
                # A job without legs describes the reference dataset.
                self.ctx.plan[f'descriptors_{number}_reference'] = [number, []]
        self.ctx.waiting = list(self.ctx.plan)
        return None

    def _fit_environments(self, number: int, descriptor: dict[str, Any]) -> ExitCode | None:
        """Fit the principal components onto which the jobs of a descriptor project the environments."""
        with use_cache('mlip_autopipe.fit_environments', self.inputs.reuse_finished):
            outputs, node = fit_environments.run_get_node(
                descriptor=orm.Dict(descriptor),
                species=self.ctx.species,
                stage_version=orm.Str(sampling.STAGE_VERSION),
                legs=dict(self.inputs.legs),
            )
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_DESCRIPTORS.format(reason=node.exit_message)
        self.ctx.pcas[number] = outputs['pca'].pk
        return None

    def submit_one(self, label: str) -> orm.CalcJobNode:
        """Submit a descriptor job."""
        number, trajectory_ids = self.ctx.plan[label]
        descriptor = self.inputs.descriptors.get_list()[number]['descriptor']
        inputs = self.exposed_inputs(DescriptorsCalculation, 'job')
        if descriptor['kind'] != 'learned':
            for name in ('calculator', 'model', 'member_models'):
                inputs.pop(name, None)
            inputs.environment = self.ctx.environment
        if trajectory_ids:
            legs = [orm.load_node(self.ctx.legs[name]) for name in trajectory_ids]
            inputs.legs = link_labels('trajectory', legs)
        else:
            inputs.reference_dataset = self.inputs.reference_dataset
        inputs.descriptor = orm.Dict(descriptor)
        inputs.species = self.ctx.species
        if number in self.ctx.pcas:
            inputs.pca = orm.load_node(self.ctx.pcas[number])
        inputs.metadata['call_link_label'] = self.link_label(label)
        with use_cache('mlip_autopipe.descriptors', self.inputs.reuse_finished):
            return self.submit(DescriptorsCalculation, inputs)

    def gather(self) -> ExitCode | None:
        """Collect the descriptors of the jobs; fail if a job produced none."""
        # A stopped campaign submits no further jobs.
        failure = 'stopped by a user' if self.ctx.ended.keys() < self.ctx.plan.keys() else None
        for label, pk in sorted(self.ctx.ended.items()):
            node = orm.load_node(pk)
            if node.is_finished_ok:
                self.out(f'descriptors.{label}', node.outputs.descriptors)
            else:
                failure = node.exit_message or str(node.process_state)
        return None if failure is None else self.exit_codes.ERROR_DESCRIPTORS.format(reason=failure)


def descriptors_for_jobs(sampling: Mapping[str, Any], n_frames: int, min_frames: int) -> list[dict[str, Any]]:
    """Return ``of`` and ``descriptor`` of the descriptors that jobs compute for the sampling stage, without duplicates.

    Parameters
    ----------
    sampling
        The settings of the sampling stage.
    n_frames
        Number of frames to select from.
    min_frames
        Minimum number of frames for which jobs compute the descriptors. They always compute learned descriptors.
    """
    by_job = [
        {'of': request.of, 'descriptor': request.descriptor}
        for request in required_descriptors(sampling)
        if request.descriptor['kind'] == 'learned' or n_frames >= min_frames
    ]
    return [one for place, one in enumerate(by_job) if one not in by_job[:place]]


def selection_job(descriptor_inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the code and options of a selection job: those of a descriptor job, without a calculator.

    Parameters
    ----------
    descriptor_inputs
        The inputs of the descriptor jobs.
    """
    environment = Environment.model_validate(descriptor_inputs['environment'].get_dict()).without_calculator()
    options = {**descriptor_inputs['metadata']['options'], 'parser_name': 'mlip_autopipe.select'}
    return {
        **{
            name: descriptor_inputs[name]
            for name in ('code', 'image_sha256', 'python_path')
            if name in descriptor_inputs
        },
        'environment': orm.Dict(environment.model_dump(mode='json')),
        'metadata': {'options': options, 'call_link_label': 'select_frames'},
    }


def _chunks(sizes: Mapping[str, int], max_size: int) -> Iterator[list[str]]:
    """Yield chunks of trajectories, by name, up to the maximum size. A larger trajectory is a separate chunk."""
    chunk: list[str] = []
    total = 0
    for name, size in sizes.items():
        if chunk and total + size > max_size:
            yield chunk
            chunk, total = [], 0
        chunk.append(name)
        total += size
    if chunk:
        yield chunk
