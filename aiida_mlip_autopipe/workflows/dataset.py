"""The work chain of a campaign: seeds, an exploration of each seed, selection and dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ToContext, while_

from aiida_mlip_autopipe import generation, storage
from aiida_mlip_autopipe.aiida_internals import WorkChainSpec
from aiida_mlip_autopipe.calculations.evaluate import EvaluationCalculation
from aiida_mlip_autopipe.calculations.export_dataset import export_dataset
from aiida_mlip_autopipe.calculations.generate_seeds import generate_seeds
from aiida_mlip_autopipe.config import CampaignConfig, load_config
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.data.trajectory import link_labels, sort_trajectories, trajectory_id
from aiida_mlip_autopipe.structures.rows.provenance import EXTENDS
from aiida_mlip_autopipe.workflows.dataset_ports import define_inputs, define_outputs
from aiida_mlip_autopipe.workflows.exploration import ExplorationWorkChain
from aiida_mlip_autopipe.workflows.graph import RESUMES, is_stop_requested, why_ended
from aiida_mlip_autopipe.workflows.inputs.campaign import campaign_inputs
from aiida_mlip_autopipe.workflows.inputs.environments import Notify
from aiida_mlip_autopipe.workflows.inputs.exploration import inputs_of_seed
from aiida_mlip_autopipe.workflows.labelling import LabellingWorkChain
from aiida_mlip_autopipe.workflows.legs.comparison import PREFIX, ComparedFrames

# A calcfunction blocks its daemon worker, so it generates at most this many seeds.
SEEDS_PER_CHUNK = 100


class DatasetWorkChain(ComparedFrames):
    """Makes a dataset from a config. The outline shows all stages of the pipeline."""

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:
        """Define inputs, outputs, exit codes and the outline."""
        super().define(spec)
        define_inputs(spec)
        define_outputs(spec)
        spec.outline(
            cls.setup,
            while_(cls.has_seeds_to_generate)(cls.generate_seeds),
            cls.describe_reference,
            while_(cls.has_unfinished)(cls.fill_slots),
            cls.inspect_explorations,
            cls.draw_random_frames,
            cls.plan_comparison,
            while_(cls.has_unfinished)(cls.fill_slots),
            cls.compare_models,
            cls.describe_frames,
            while_(cls.has_no_selection)(cls.select_frames),
            cls.keep_selection,
            cls.export_dataset,
            cls.label_dataset,
            cls.keep_dataset,
        )

    @classmethod
    def get_builder_from_config(
        cls, config: CampaignConfig | Path | str, overrides: Sequence[str] = (), notify: Notify = print
    ) -> ProcessBuilder:
        """Return a builder with all inputs of a campaign.

        Parameters
        ----------
        config
            The validated config, or the path of its YAML file.
        overrides
            Changes to the file, such as ``sampling.n_structures=500``.
        notify
            Called with a message for each code whose environment has changed, so that its results are not reused.

        Raises
        ------
        ConfigError
            With all errors of the file.
        AutopipeError
            If a code does not exist or lacks its model or environment record, a database query fails, or the
            seeds cannot be generated.
        """
        if not isinstance(config, CampaignConfig):
            config = load_config(config, overrides)
        elif overrides:
            raise AutopipeError(
                Code.VALUES_EXCLUDE, 'overrides change a config file and cannot change a validated config'
            )
        builder = cls.get_builder()
        for name, value in campaign_inputs(config, notify).items():
            setattr(builder, name, value)
        builder.metadata.label = config.name
        return builder

    def setup(self) -> None:
        """Initialise the context, without seeds."""
        self.start_empty()
        self.ctx.n_generated = 0
        self.ctx.generation_reports = []
        self.ctx.seeds = {}
        # The position of each seed in its entry, which determines its temperature and pressure, and the entry.
        self.ctx.places = {}
        # The fingerprints that the next chunk of seeds is compared with.
        self.ctx.fingerprints = {}
        self.ctx.n_lost_selections = 0
        # All explorations share this node. By default, each would store a separate one.
        self.ctx.clean_workdir = orm.Bool(False).store()

    # Generation

    def has_seeds_to_generate(self) -> bool:
        """Return whether a chunk of seeds remains to be generated."""
        return self.ctx.n_generated < self.inputs.n_seeds

    def generate_seeds(self) -> ExitCode | None:
        """Generate the next chunk of seeds."""
        start = self.ctx.n_generated
        stop = min(start + SEEDS_PER_CHUNK, self.inputs.n_seeds)
        outputs, node = self.call(
            generate_seeds,
            settings=self.inputs.generation,
            random_seed=self.inputs.random_seed,
            start=orm.Int(start),
            stop=orm.Int(stop),
            stage_version=orm.Str(generation.STAGE_VERSION),
            **self.ctx.fingerprints,
            **self.inputs.get('files', {}),
        )
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_GENERATION.format(reason=node.exit_message)
        places = outputs['places'].get_dict()
        for seed_id in outputs['report']['seed_ids']:
            label = f'seed_{seed_id}'
            if label not in self.ctx.seeds:
                self.ctx.seeds[label] = outputs[label].pk
                self.ctx.places[label] = places[seed_id]
                self.ctx.waiting.append(label)
                self.out(f'seeds.{label}', outputs[label])
        self.out(f'generation_reports.seeds_{start}', outputs['report'])
        self.ctx.generation_reports.append(outputs['report'].pk)
        self.ctx.fingerprints = {name: outputs[name] for name in ('fingerprints',) if name in outputs}
        self.ctx.n_generated = stop
        if not self.has_seeds_to_generate():
            self.report(f'distinct seeds generated: {len(self.ctx.seeds)} of {stop} requested')
            report = generation.merge_reports(orm.load_node(pk).get_dict() for pk in self.ctx.generation_reports)
            for loss in generation.describe_losses(report):
                self.report(loss)
            if reason := generation.find_empty_entry(report):
                return self.exit_codes.ERROR_GENERATION.format(reason=reason)
        return None

    # Exploration

    def submit_one(self, label: str) -> orm.ProcessNode:
        """Submit the exploration of a seed, or the assessment of the explored frames by a model."""
        if label.startswith(PREFIX):
            return self.submit_comparison(label)
        seed = orm.load_node(self.ctx.seeds[label])
        job, code = inputs_of_seed(self.inputs, seed, self.ctx.places[label], self.reference_input(label))
        job['metadata'] = {'options': code['options'].get_dict()}
        optional = {}
        if 'committee' in self.inputs:
            optional['committee'] = self.exposed_inputs(EvaluationCalculation, 'committee')
        if (stash := code.get('stash')) is not None:
            metadata = {'computer': code['code'].computer, 'options': stash['options'].get_dict()}
            optional['stash'] = {'folder': stash['folder'], 'metadata': metadata}
        return self.submit(
            ExplorationWorkChain,
            job=job,
            **optional,
            max_iterations=self.inputs.max_iterations,
            clean_workdir=self.ctx.clean_workdir,
            retry_memory_factor=self.inputs.retry_memory_factor,
            reuse_finished=self.inputs.reuse_finished,
            **self._earlier_campaign(),
            metadata={'call_link_label': f'explore_{label}'},
        )

    def _earlier_campaign(self) -> dict[str, Any]:
        """Return the input that names the campaign whose killed jobs may be recovered, if there is one."""
        uuid = self.inputs.get(RESUMES) or self.inputs.get(EXTENDS)
        return {} if uuid is None else {RESUMES: uuid}

    def inspect_explorations(self) -> ExitCode | None:
        """Report how the explorations ended; fail only if too few succeeded."""
        ended = {label: orm.load_node(self.ctx.ended[label]) for label in sorted(self.ctx.ended)}
        failed = {label: node for label, node in ended.items() if not node.is_finished_ok}
        reasons = why_ended([node.pk for node in failed.values()])
        for label, node in failed.items():
            self.report(f'{label}: {reasons[node.pk]}')
        n_ok, n = len(ended) - len(failed), len(ended)
        self.report(f'{n_ok} of {counted(n, "exploration")} succeeded')
        if is_stop_requested(self.node.pk):
            return self.exit_codes.ERROR_STOPPED
        if n_ok < self.inputs.min_success_fraction * n:
            return self.exit_codes.ERROR_TOO_FEW_EXPLORATIONS.format(
                n_ok=n_ok, n=n, fraction=self.inputs.min_success_fraction
            )
        legs = [leg for node in ended.values() if 'legs' in node.outputs for leg in node.outputs.legs.values()]
        self.ctx.legs = [leg.pk for leg in sort_trajectories(legs)]
        self.ctx.evaluations = [
            one.pk for node in ended.values() if 'committee' in node.outputs for one in node.outputs.committee.values()
        ]
        if 'committee' in self.inputs:
            self.report(f'the committee evaluated {len(self.ctx.evaluations)} of {counted(len(self.ctx.legs), "leg")}')
        return None if self.ctx.legs else self.exit_codes.ERROR_NO_FRAMES

    # Storage

    def export_dataset(self) -> ExitCode | None:
        """Write the database from the trajectories and seeds that the selection refers to."""
        chosen = [self.ctx.selection, *([self.ctx.drawn] if 'drawn' in self.ctx else [])]
        selected = {name for node in chosen for name in node.base.attributes.get('trajectory_ids')}
        legs = [one for one in self._legs() if trajectory_id(one) in selected]
        evaluations = [one for one in self._evaluations() if trajectory_id(one) in selected]
        seed_ids = {name for node in chosen for name in node.base.attributes.get('seed_ids')}
        outputs, node = self.call(
            export_dataset,
            selection=self.ctx.selection,
            campaign=self.inputs.campaign,
            random_seed=self.inputs.random_seed,
            stage_version=orm.Str(storage.STAGE_VERSION),
            **({'drawn': self.ctx.drawn} if 'drawn' in self.ctx else {}),
            legs=link_labels('trajectory', legs),
            evaluations=link_labels('evaluation', evaluations),
            seeds={f'seed_{seed.seed_id}': seed for seed in self._seeds() if seed.seed_id in seed_ids},
        )
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_EXPORT.format(reason=node.exit_message)
        self.ctx.dataset = outputs['dataset']
        return None

    # Labelling

    def label_dataset(self) -> ToContext | None:
        """Label the rows with a reference method, if the campaign has one."""
        if 'labelling' not in self.inputs:
            return None
        return ToContext(
            labelling=self.submit(
                LabellingWorkChain,
                **self.exposed_inputs(LabellingWorkChain, 'labelling'),
                **self._earlier_campaign(),
                dataset=self.ctx.dataset,
                max_concurrent_jobs=self.inputs.max_concurrent_jobs,
                reuse_finished=self.inputs.reuse_finished,
                metadata={'call_link_label': 'label_dataset'},
            )
        )

    def keep_dataset(self) -> ExitCode | None:
        """Output the dataset: the labelled one, if the campaign has a reference method."""
        if 'labelling' not in self.inputs:
            self.out('dataset', self.ctx.dataset)
            return None
        node = self.ctx.labelling
        if not node.is_finished_ok:
            if is_stop_requested(self.node.pk):
                return self.exit_codes.ERROR_STOPPED
            return self.exit_codes.ERROR_LABELLING.format(reason=node.exit_message or node.process_state.value)
        self.out('dataset', node.outputs.dataset)
        self.out('labelling_report', node.outputs.report)
        return None
