"""The work chain that has the frames of a campaign described, many legs a job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, while_
from ase.data import atomic_numbers

from aiida_mlip_autopipe import sampling
from aiida_mlip_autopipe.aiida_internals import WorkChainSpec, use_cache
from aiida_mlip_autopipe.calculations import validators
from aiida_mlip_autopipe.calculations.describe import DescriptionCalculation
from aiida_mlip_autopipe.calculations.fit_environments import fit_environments
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.trajectory import in_order, link_labels, trajectory_id
from aiida_mlip_autopipe.descriptors.describe import asked_descriptors
from aiida_mlip_autopipe.jobs.environment import Environment
from aiida_mlip_autopipe.workflows.throttle import ThrottledWorkChain

# Frames of a job: of 64 atoms it takes a minute on one core, and its descriptors some 20 MB.
FRAMES_PER_JOB = 10_000
# Atoms of a job that describes each of them: half a minute, and 80 MB in 64 components.
ENVIRONMENTS_PER_JOB = 320_000


class DescriptionWorkChain(ThrottledWorkChain):
    """Computes each descriptor that is asked for, for all frames."""

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:
        """Define inputs, the outline and exit codes."""
        super().define(spec)
        spec.input_namespace('legs', valid_type=orm.TrajectoryData, help='The frames.')
        spec.input('descriptors', valid_type=orm.List, help='For each `of` what it is, and the `descriptor`.')
        spec.input(
            'reference_dataset', valid_type=DatasetData, required=False, help='Structures described beside them.'
        )
        spec.expose_inputs(
            DescriptionCalculation,
            namespace='job',
            exclude=('legs', 'reference_dataset', 'descriptor', 'species', 'projection'),
        )
        spec.input('max_concurrent_jobs', valid_type=int, is_metadata=True, help='Jobs in flight at most.')
        spec.input('reuse_finished', valid_type=bool, is_metadata=True, default=False, help='Take jobs from cache.')
        validators.guard(spec.inputs, validators.DESCRIPTIONS, validators.descriptions)
        spec.output_namespace('descriptors', valid_type=orm.ArrayData, help='The descriptors, for each job.')
        spec.exit_code(401, 'ERROR_DESCRIPTION', message='Not all frames could be described: {reason}')
        spec.outline(cls.plan, while_(cls.has_unfinished)(cls.fill_slots), cls.gather)

    def plan(self) -> ExitCode | None:
        """Divide the legs among jobs, and let the jobs of each descriptor wait."""
        self.start_empty()
        legs = in_order(self.inputs.legs.values())
        self.ctx.legs = {trajectory_id(leg): leg.pk for leg in legs}
        shapes = {trajectory_id(leg): leg.get_shape('positions') for leg in legs}
        self.ctx.plan, self.ctx.projections = {}, {}
        species = {atomic_numbers[symbol] for leg in self.inputs.legs.values() for symbol in leg.symbols}
        if 'reference_dataset' in self.inputs:
            species |= {
                atomic_numbers[symbol] for symbol in self.inputs.reference_dataset.base.attributes.get('elements')
            }
        self.ctx.species = orm.List(sorted(species))
        # No calculator, so that these descriptors are the same whether or not learned ones are also requested.
        environment = Environment.model_validate(self.inputs.job.environment.get_dict()).without_calculator()
        self.ctx.environment = orm.Dict(environment.model_dump(mode='json'))
        for number, asked in enumerate(self.inputs.descriptors.get_list()):
            if asked['of'] == 'environments':
                sizes = {name: n_frames * n_atoms for name, (n_frames, n_atoms, _) in shapes.items()}
                chunks = list(_chunks(sizes, ENVIRONMENTS_PER_JOB))
                failure = self._fit_environments(number, asked['descriptor'])
                if failure is not None:
                    return failure
            else:
                sizes = {name: n_frames for name, (n_frames, _, _) in shapes.items()}
                chunks = list(_chunks(sizes, FRAMES_PER_JOB))
            self.ctx.plan |= {f'descriptors_{number}_{place}': [number, ids] for place, ids in enumerate(chunks)}
            if 'reference_dataset' in self.inputs:
                # A job without a leg describes it.
                self.ctx.plan[f'descriptors_{number}_reference'] = [number, []]
        self.ctx.waiting = list(self.ctx.plan)
        return None

    def _fit_environments(self, number: int, descriptor: dict[str, Any]) -> ExitCode | None:
        """Find the components in which the jobs of a descriptor hand back the environments."""
        with use_cache('mlip_autopipe.fit_environments', self.inputs.reuse_finished):
            outputs, node = fit_environments.run_get_node(
                descriptor=orm.Dict(descriptor),
                species=self.ctx.species,
                stage_version=orm.Str(sampling.STAGE_VERSION),
                legs=dict(self.inputs.legs),
            )
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_DESCRIPTION.format(reason=node.exit_message)
        self.ctx.projections[number] = outputs['projection'].pk
        return None

    def submit_one(self, label: str) -> orm.CalcJobNode:
        """Submit a job."""
        number, trajectory_ids = self.ctx.plan[label]
        descriptor = self.inputs.descriptors.get_list()[number]['descriptor']
        inputs = self.exposed_inputs(DescriptionCalculation, 'job')
        if descriptor['kind'] != 'learned':
            inputs.pop('calculator', None)
            inputs.pop('model', None)
            inputs.environment = self.ctx.environment
        if trajectory_ids:
            legs = [orm.load_node(self.ctx.legs[name]) for name in trajectory_ids]
            inputs.legs = link_labels('trajectory', legs)
        else:
            inputs.reference_dataset = self.inputs.reference_dataset
        inputs.descriptor = orm.Dict(descriptor)
        inputs.species = self.ctx.species
        if number in self.ctx.projections:
            inputs.projection = orm.load_node(self.ctx.projections[number])
        inputs.metadata['call_link_label'] = self.link_label(label)
        with use_cache('mlip_autopipe.describe', self.inputs.reuse_finished):
            return self.submit(DescriptionCalculation, inputs)

    def gather(self) -> ExitCode | None:
        """Keep what the jobs have found; without all of it there is nothing to select by."""
        # A campaign that was stopped submits no more jobs.
        failure = 'stopped by a user' if self.ctx.ended.keys() < self.ctx.plan.keys() else None
        for label, pk in sorted(self.ctx.ended.items()):
            node = orm.load_node(pk)
            if node.is_finished_ok:
                self.out(f'descriptors.{label}', node.outputs.descriptors)
            else:
                failure = node.exit_message or str(node.process_state)
        return None if failure is None else self.exit_codes.ERROR_DESCRIPTION.format(reason=failure)


def find_wanted(sampling: Mapping[str, Any], n_frames: int, min_frames: int) -> list[dict[str, Any]]:
    """Return ``of`` what and by which ``descriptor`` jobs shall describe the frames for a sampling, each once.

    Parameters
    ----------
    sampling
        The settings of the sampling.
    n_frames
        How many frames there are to choose from.
    min_frames
        From how many frames on jobs compute all that is needed; what a calculator has learned they always do.
    """
    by_job = [
        {'of': asked.of, 'descriptor': asked.descriptor}
        for asked in asked_descriptors(sampling)
        if asked.descriptor['kind'] == 'learned' or n_frames >= min_frames
    ]
    return [one for place, one in enumerate(by_job) if one not in by_job[:place]]


def selection_job(describing: Mapping[str, Any]) -> dict[str, Any]:
    """Return the code and options of a selection job: those of a description job, without a calculator.

    Parameters
    ----------
    describing
        The inputs of the description jobs.
    """
    environment = Environment.model_validate(describing['environment'].get_dict()).without_calculator()
    options = {**describing['metadata']['options'], 'parser_name': 'mlip_autopipe.select'}
    return {
        **{name: describing[name] for name in ('code', 'image_sha256', 'python_path') if name in describing},
        'environment': orm.Dict(environment.model_dump(mode='json')),
        'metadata': {'options': options, 'call_link_label': 'select_frames'},
    }


def _chunks(sizes: Mapping[str, int], most: int) -> Iterator[list[str]]:
    """Yield names of trajectories up to the maximum size of a job; a larger trajectory gets its own job."""
    chunk: list[str] = []
    total = 0
    for name, size in sizes.items():
        if chunk and total + size > most:
            yield chunk
            chunk, total = [], 0
        chunk.append(name)
        total += size
    if chunk:
        yield chunk
