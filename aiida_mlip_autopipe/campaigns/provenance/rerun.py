"""Run the jobs behind a row again, in temporary folders on this machine and without AiiDA's engine."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiida import orm
from aiida.common.links import LinkType

from aiida_mlip_autopipe.calculations import explore
from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.calculations.labelling import label as labelling
from aiida_mlip_autopipe.calculations.model_link import link_models
from aiida_mlip_autopipe.campaigns.provenance.comparison import Frame, leg_frame
from aiida_mlip_autopipe.campaigns.provenance.model_files import ModelFiles, use_found_models
from aiida_mlip_autopipe.data.dataset import structures_in
from aiida_mlip_autopipe.exploration.files.trajectory_file import read_trajectory
from aiida_mlip_autopipe.installation.codes import is_local, run_local_job
from aiida_mlip_autopipe.jobs.contract import (
    CHECKPOINT_FILE,
    REFERENCE_FILE,
    RESULT_FILE,
    START_FILE,
    TRAJECTORY_FILE,
    Result,
)
from aiida_mlip_autopipe.jobs.environment import Environment
from aiida_mlip_autopipe.jobs.version import LABELLING_VERSION, RUNNER_VERSION
from aiida_mlip_autopipe.labelling import Failure, Label, label_key
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE
from aiida_mlip_autopipe.labelling.labels_file import read_labels
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory


@dataclass(frozen=True)
class Means:
    """The code and the model files with which the jobs are run, if they are not those of the original jobs.

    Attributes
    ----------
    start
        A code or the path of an interpreter; by default, the code of the original job, or this interpreter if that
        code is not on this machine.
    models
        Model files.
    """

    start: orm.AbstractCode | str | None = None
    models: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Computed:
    """What was computed again.

    Attributes
    ----------
    frames
        The frames of an exploration, by step.
    labels
        The labels or failures of structures, by key.
    failure
        Why a job could not be run; empty if all jobs ran.
    message
        How the run differed from the recorded one; empty if it took the same course.
    result
        The result of the job; None if it could not be run.
    altered
        The model files that were altered.
    environment
        The code or the interpreter that ran the jobs.
    """

    frames: Mapping[int, Frame] = field(default_factory=dict)
    labels: Mapping[str, Label | Failure] = field(default_factory=dict)
    failure: str = ''
    message: str = ''
    result: Result | None = None
    altered: tuple[str, ...] = ()
    environment: str = ''


@dataclass(frozen=True)
class Stretch:
    """A part of a run that one job computes.

    Attributes
    ----------
    job
        The original job with the same settings.
    until_step
        The absolute step at which the part ends.
    ends_unstable
        Whether a guard stopped the original run at this step.
    """

    job: orm.CalcJobNode
    until_step: int
    ends_unstable: bool = False


def plan_stretches(jobs: Sequence[orm.CalcJobNode], last_step: int) -> list[Stretch]:
    """Return the parts in which a run is computed from its seed.

    A continuation is exact, so legs with equal settings are one part. The only exception is the last leg before a
    recovery: the recovery starts from the last good frame of this leg, or from its first step.

    Parameters
    ----------
    jobs
        The jobs of the run, from the first leg.
    last_step
        The absolute step at which the last part ends.
    """
    groups: list[list[orm.CalcJobNode]] = []
    # A killed job has no results: the job that recovered its files, which follows it, stands for both.
    for job in (one for one in jobs if one.is_finished):
        if groups and _settings(groups[-1][0]) == _settings(job):
            groups[-1].append(job)
        else:
            groups.append([job])
    stretches = []
    for group, following in pairwise(groups):
        last = group[-1]
        if last.exit_status != ExplorationCalculation.exit_codes.ERROR_UNSTABLE.status:
            stretches.append(Stretch(last, following[0].outputs.result['first_step']))
            continue
        if len(group) > 1:
            stretches.append(Stretch(last, last.outputs.result['first_step']))
        stretches.append(Stretch(last, last.outputs.result['last_step'], ends_unstable=True))
    return [*stretches, Stretch(groups[-1][-1], last_step)]


def explore_again(jobs: Sequence[orm.CalcJobNode], steps: Collection[int], means: Means) -> Computed:
    """Compute the frames of an exploration at some steps again, from its seed.

    Parameters
    ----------
    jobs
        The jobs of the run, from the first leg.
    steps
        The absolute steps of the frames.
    means
        What the jobs are run with.
    """
    frames: dict[int, Frame] = {}
    with TemporaryDirectory(prefix='mlip-autopipe-') as name:
        job = _Job(jobs[-1], means, Path(name))
        start: Path | None = None
        message = ''
        for number, stretch in enumerate(plan_stretches(jobs, max(steps))):
            folder = job.make_folder(f'part_{number}')
            inputs = nested_inputs(stretch.job)
            explore.write_job(
                inputs,
                job.calculator,
                folder,
                **job.fields,
                runner_version=RUNNER_VERSION,
                full_trajectory_interval=None,
                until_step=stretch.until_step,
            )
            if start is not None:
                shutil.copy(start, folder / START_FILE)
            if 'reference_environments' in inputs:
                content = inputs['reference_environments'].get_content(mode='rb')
                (folder / REFERENCE_FILE).write_bytes(content)
            result = job.run('aiida_mlip_autopipe.exploration', folder)
            if result is None:
                break
            if result.n_frames:
                trajectory = read_trajectory(folder / TRAJECTORY_FILE, inputs['seed'].seed_id)
                found = enumerate(trajectory.steps.tolist())
                frames |= {step: leg_frame(trajectory, index) for index, step in found if step in steps}
            message = _describe_course(stretch, result)
            if message:
                break
            start = folder / CHECKPOINT_FILE
        return job.conclude(frames=frames, message=message)


def label_again(node: orm.CalcJobNode, keys: Collection[str], means: Means) -> Computed:
    """Compute labels again.

    Parameters
    ----------
    node
        The job that computed the labels.
    keys
        The keys of the labels.
    means
        What the job is run with.
    """
    inputs = nested_inputs(node)
    level = LevelOfTheory.model_validate(inputs['level'].get_dict())
    all_structures = structures_in(inputs['dataset'], inputs['rows'].get_list())
    structures = {label_key(one, level.hash): one for one in all_structures}
    chosen = [structures[key] for key in keys if key in structures]
    labels: dict[str, Label | Failure] = {}
    with TemporaryDirectory(prefix='mlip-autopipe-') as name:
        job = _Job(node, means, Path(name))
        folder = job.make_folder('labels')
        fields = {**job.fields, 'labelling_version': LABELLING_VERSION, 'isolated_atoms': ()}
        labelling.write_job(inputs, chosen, job.calculator, folder, **fields)
        if job.run('aiida_mlip_autopipe.labelling', folder) is not None:
            labels = read_labels(folder / LABELS_FILE)
        return job.conclude(labels=labels)


def nested_inputs(job: orm.CalcJobNode) -> Mapping[str, Any]:
    """Return the input nodes of a job, with its namespaces as mappings."""
    inputs: Mapping[str, Any] = job.base.links.get_incoming(link_type=LinkType.INPUT_CALC).nested()
    return inputs


class _Job:
    """A job that is run again: its calculator, and the environment at hand."""

    def __init__(self, node: orm.CalcJobNode, means: Means, folder: Path):
        self._folder = folder
        inputs = nested_inputs(node)
        self._start, self.environment = _choose_start(inputs['code'], means)
        self._models = ModelFiles(inputs, folder, means.models)
        self.failure = self._models.failure
        self.calculator, self._links = dict[str, Any](), list[tuple[str, str, str]]()
        if not self.failure:
            settings = inputs['calculator'].get_dict()
            linked, self._links = link_models(settings, inputs, inputs['code'].computer, self._models.find)
            self.calculator = use_found_models(linked, self._models)
        self._expected = Environment.model_validate(inputs['environment'].get_dict())
        self._result: Result | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of ``job.json`` with which the job runs in another environment, too."""
        # Without a GPU, the job runs on the processor, and the result records the device.
        device = 'auto' if self._expected.device == 'cuda' else self._expected.device
        return {
            'environment': self._expected.model_copy(update={'device': device}),
            'environment_may_differ': True,
            'image_sha256': None,
            'max_wallclock_s': None,
        }

    def make_folder(self, name: str) -> Path:
        """Return a new folder for a job, with links to the models."""
        folder = self._folder / name
        folder.mkdir()
        for _, path, link in self._links:
            (folder / link).parent.mkdir(parents=True, exist_ok=True)
            (folder / link).symlink_to(path)
        return folder

    def run(self, package: str, folder: Path) -> Result | None:
        """Run the job in a folder; return None if it could not be run."""
        if self.failure:
            return None
        last_line = run_local_job(self._start, package, folder, self._expected.threads)
        path = folder / RESULT_FILE
        if not path.is_file():
            self.failure = last_line
            return None
        result = Result.model_validate_json(path.read_text())
        if result.outcome in ('refused', 'failed', 'killed'):
            self.failure = result.message
            return None
        self._result = result
        return result

    def conclude(
        self,
        frames: Mapping[int, Frame] | None = None,
        labels: Mapping[str, Label | Failure] | None = None,
        message: str = '',
    ) -> Computed:
        """Return what was computed."""
        return Computed(
            frames or {},
            labels or {},
            self.failure,
            message,
            self._result,
            tuple(self._models.altered),
            self.environment,
        )


def _choose_start(code: orm.AbstractCode, means: Means) -> tuple[orm.AbstractCode | str, str]:
    """Return the code or the interpreter that runs a job, and its name."""
    start = means.start
    if start is None:
        is_here = is_local(code) and Path(str(code.filepath_executable)).is_file()
        start = code if is_here else sys.executable
    if isinstance(start, str):
        return start, start
    return start, f'{start.full_label} ({start.filepath_executable})'


def _settings(job: orm.CalcJobNode) -> tuple[Any, ...]:
    inputs = nested_inputs(job)
    recoveries = inputs['recoveries'].value if 'recoveries' in inputs else 0
    return recoveries, inputs['n_steps'].value, inputs['exploration'].get_dict()


def _describe_course(stretch: Stretch, result: Result) -> str:
    """Return how a part of a run differed from the recorded one; empty if it took the same course."""
    is_unstable = result.outcome in ('unstable', 'no_frame')
    if is_unstable and not (stretch.ends_unstable and result.last_step == stretch.until_step):
        return f'the run became unstable at step {result.last_step} ({result.message})'
    if stretch.ends_unstable and not is_unstable:
        return f'the run did not become unstable at step {stretch.until_step}'
    return ''
