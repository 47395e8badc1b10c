"""The steps of a campaign that describe the frames and select those of the dataset."""

from __future__ import annotations

from typing import TypeVar

from aiida import orm
from aiida.engine import ExitCode, ToContext

from aiida_mlip_autopipe import sampling
from aiida_mlip_autopipe.aiida_internals import use_cache
from aiida_mlip_autopipe.calculations.descriptors import DescriptorsCalculation
from aiida_mlip_autopipe.calculations.rounds.draw_random_frames import DRAW_VERSION, draw_random_frames
from aiida_mlip_autopipe.calculations.select import SelectionCalculation
from aiida_mlip_autopipe.calculations.select_frames import select_frames
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.data.trajectory import link_labels
from aiida_mlip_autopipe.workflows.descriptors import DescriptorsWorkChain, descriptors_for_jobs, selection_job
from aiida_mlip_autopipe.workflows.graph import is_stop_requested
from aiida_mlip_autopipe.workflows.lost_jobs import MAX_LOST, is_lost, lost_message
from aiida_mlip_autopipe.workflows.reference_environments import ReferenceWorkChain

Node = TypeVar('Node', orm.TrajectoryData, orm.ArrayData)


class SelectionWorkChain(ReferenceWorkChain):
    """Selects frames from all legs in ``ctx.legs``, with the evaluations in ``ctx.evaluations``.

    In a round, frames are drawn at random first, and the legs of their groups are left out of the selection.
    """

    def draw_random_frames(self) -> ExitCode | None:
        """Draw the frames that calibrate error bounds and test the models, if this is a round."""
        if 'random_share' not in self.inputs:
            return None
        outputs, node = self.call(
            draw_random_frames,
            settings=self.inputs.random_share,
            random_seed=self.inputs.random_seed,
            groups=orm.Dict(self._seed_attributes('parent')),
            kinds=orm.Dict(self._seed_attributes('kind')),
            stage_version=orm.Str(DRAW_VERSION),
            legs=link_labels('trajectory', self._legs()),
            **self._reference_dataset(),
        )
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_RANDOM_SHARE.format(reason=node.exit_message)
        self.ctx.drawn = outputs['drawn']
        self.out('random_share', outputs['drawn'])
        self.out('random_share_report', outputs['report'])
        return None

    def describe_frames(self) -> ToContext | ExitCode | None:
        """Compute the descriptors in jobs if the sampling stage needs them and there are many frames."""
        if not self._legs_to_select():
            return self.exit_codes.ERROR_SAMPLING.format(reason='all seeds are used for tests and calibration')
        min_frames = self.inputs.descriptor_jobs_from
        descriptors = descriptors_for_jobs(self.inputs.sampling.get_dict(), self._n_frames(), min_frames)
        if 'descriptors' not in self.inputs or not descriptors:
            return None
        return ToContext(
            descriptors=self.submit(
                DescriptorsWorkChain,
                legs=link_labels('trajectory', self._legs_to_select()),
                **self._reference_dataset(),
                descriptors=orm.List(descriptors),
                job=self.exposed_inputs(DescriptorsCalculation, 'descriptors'),
                max_concurrent_jobs=self.inputs.max_concurrent_jobs,
                reuse_finished=self.inputs.reuse_finished,
                metadata={'call_link_label': 'describe_frames'},
            )
        )

    def has_no_selection(self) -> bool:
        """Return whether frames must be selected: for the first time, or again because the cluster lost the job."""
        if 'selecting' not in self.ctx:
            return True
        gives_up = self.ctx.n_lost_selections == MAX_LOST or is_stop_requested(self.node.pk)
        return is_lost(self.ctx.selecting) and not gives_up

    def select_frames(self) -> ToContext | ExitCode | None:
        """Select the frames of the dataset from all legs, including those of explorations that failed later.

        If there are many frames, a job selects them, because this process would block its daemon worker for minutes.
        """
        if 'selecting' in self.ctx:
            self.ctx.n_lost_selections += 1
            self.report(lost_message(self.ctx.selecting))
        descriptors = {}
        if 'descriptors' in self.ctx:
            if not self.ctx.descriptors.is_finished_ok:
                if is_stop_requested(self.node.pk):
                    return self.exit_codes.ERROR_STOPPED
                reason = self.ctx.descriptors.exit_message or self.ctx.descriptors.process_state.value
                return self.exit_codes.ERROR_DESCRIPTORS.format(reason=reason)
            descriptors = dict(self.ctx.descriptors.outputs.descriptors)
        inputs = {
            'settings': self.inputs.sampling,
            'random_seed': self.inputs.random_seed,
            'groups': orm.Dict(self._seed_attributes('parent')),
            'kinds': orm.Dict(self._seed_attributes('kind')),
            'labels': orm.Dict({seed.seed_id: label for seed in self._seeds() if (label := seed.entry_label)}),
            'stage_version': orm.Str(sampling.STAGE_VERSION),
            'legs': link_labels('trajectory', self._legs_to_select()),
            'evaluations': link_labels('evaluation', self._evaluations_to_select()),
            'descriptors': descriptors,
            **({'uncertainties': self.ctx.uncertainties} if 'uncertainties' in self.ctx else {}),
            **self._reference_dataset(),
        }
        if 'descriptors' not in self.inputs or self._n_frames() < self.inputs.descriptor_jobs_from:
            _, self.ctx.selecting = self.call(select_frames, **inputs)
            return None
        job = selection_job(self.exposed_inputs(DescriptorsCalculation, 'descriptors'))
        if self.ctx.n_lost_selections:
            job['metadata']['call_link_label'] += f'_again_{self.ctx.n_lost_selections}'
        with use_cache('mlip_autopipe.select', self.inputs.reuse_finished):
            return ToContext(selecting=self.submit(SelectionCalculation, **job, **inputs))

    def keep_selection(self) -> ExitCode | None:
        """Output the selection and its report."""
        node = self.ctx.selecting
        if not node.is_finished_ok:
            if is_stop_requested(self.node.pk):
                return self.exit_codes.ERROR_STOPPED
            return self.exit_codes.ERROR_SAMPLING.format(reason=node.exit_message or node.process_state.value)
        self.ctx.selection = node.outputs.selection
        self.out('selection', node.outputs.selection)
        self.out('selection_report', node.outputs.report)
        return None

    def _n_frames(self) -> int:
        return sum(leg.get_shape('steps')[0] for leg in self._legs_to_select())

    def _reference_dataset(self) -> dict[str, DatasetData]:
        """Return the reference dataset as an input; empty without a reference dataset."""
        name = 'reference_dataset'
        return {name: self.inputs[name]} if name in self.inputs else {}

    def _seed_attributes(self, name: str) -> dict[str, str]:
        """Return an attribute of the seeds, by seed id; seeds without it are left out."""
        return {seed.seed_id: value for seed in self._seeds() if (value := seed.base.attributes.get(name))}

    def _seeds(self) -> list[SeedData]:
        return [orm.load_node(pk) for pk in self.ctx.seeds.values()]

    def _legs(self) -> list[orm.TrajectoryData]:
        return [orm.load_node(pk) for pk in self.ctx.legs]

    def _legs_to_select(self) -> list[orm.TrajectoryData]:
        return self._without_withheld(self._legs())

    def _evaluations_to_select(self) -> list[orm.ArrayData]:
        return self._without_withheld(self._evaluations())

    def _without_withheld(self, nodes: list[Node]) -> list[Node]:
        """Leave out the legs and evaluations of seeds whose groups test or calibrate in this round."""
        withheld = set(self.ctx.drawn.base.attributes.get('withheld_seeds')) if 'drawn' in self.ctx else ()
        return [node for node in nodes if node.base.attributes.get('seed_id') not in withheld]

    def _evaluations(self) -> list[orm.ArrayData]:
        return [orm.load_node(pk) for pk in self.ctx.evaluations]
