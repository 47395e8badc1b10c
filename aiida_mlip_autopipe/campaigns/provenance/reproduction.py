"""Compute rows of a dataset again, from their seeds, and compare them with the dataset and the graph bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from aiida import orm

from aiida_mlip_autopipe.calculations.export_dataset import level_of_labels
from aiida_mlip_autopipe.calculations.labelling.label import LabellingCalculation
from aiida_mlip_autopipe.campaigns.provenance.alterations import (
    file_frame,
    find_altered_nodes,
    find_altered_values,
    graph_frame,
    graph_label,
)
from aiida_mlip_autopipe.campaigns.provenance.comparison import (
    Comparison,
    Frame,
    find_differences,
    find_missing,
    judge,
    label_frame,
    row_labels,
)
from aiida_mlip_autopipe.campaigns.provenance.model_files import refuse_unused_files
from aiida_mlip_autopipe.campaigns.provenance.origin import OpenedDataset, Origin, find_origin
from aiida_mlip_autopipe.campaigns.provenance.rerun import Computed, Means, explore_again, label_again, nested_inputs
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.randomness import make_rng
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.jobs.environment import Environment
from aiida_mlip_autopipe.labelling import Failure, Label
from aiida_mlip_autopipe.structures.rows.labels import LABELLING

Notify = Callable[[str], None]


@dataclass(frozen=True)
class Reproduction:
    """A row that was computed again.

    Attributes
    ----------
    row
        Its id.
    seed_id, step
        Its seed and its absolute step.
    frame
        The comparison of the structure, and of the labels of the exploration.
    label
        The comparison of the labels of a reference method; None if the row has none, or they are left out.
    altered
        What was altered after it was stored, as sentences.
    """

    row: int
    seed_id: str
    step: int
    frame: Comparison
    label: Comparison | None
    altered: tuple[str, ...]

    @property
    def is_identical(self) -> bool:
        """Whether everything that was compared is identical bit for bit and nothing was altered."""
        compared = [self.frame, *([] if self.label is None else [self.label])]
        return not self.altered and all(one.outcome == 'identical' for one in compared)


def sample_rows(dataset: OpenedDataset, amount: str) -> list[int]:
    """Choose rows at random; the same rows each time.

    Parameters
    ----------
    dataset
        The dataset.
    amount
        A number, or a percentage such as ``5%``. At least one row is chosen.

    Returns
    -------
    list of int
        The ids of the rows, in ascending order.

    Raises
    ------
    AutopipeError
        If the amount is invalid, or no row records its origin.
    """
    rows = dataset.rows()
    known = [row for row in rows if 'provenance' in row.data]
    if not known:
        raise AutopipeError(Code.ORIGIN_UNKNOWN, f'no row of {dataset.name} records how it was computed')
    size = min(_parse_amount(amount, len(known)), len(known))
    rng = make_rng(known[0].provenance.random_seed, 'reproduce')
    chosen = rng.choice(len(known), size, replace=False)
    return sorted(int(known[index].id or 0) for index in chosen)


def reproduce_rows(
    dataset: OpenedDataset,
    row_ids: Iterable[int],
    means: Means | None = None,
    *,
    with_labels: bool = True,
    notify: Notify = lambda text: None,
) -> Iterator[Reproduction]:
    """Compute rows again and compare them with the dataset and the graph.

    Rows that share a run are computed together. Nothing is stored.

    Parameters
    ----------
    dataset
        The dataset.
    row_ids
        The ids of the rows.
    means
        What the jobs are run with.
    with_labels
        Whether to compute the labels of a reference method again.
    notify
        Called with a line of text before each run.

    Raises
    ------
    AutopipeError
        If a row does not exist, does not record its origin, or its origin is not in the profile, or if a given model
        file would not be used. Nothing is computed in this case.
    """
    means = means or Means()
    origins = [find_origin(dataset.row(row_id), dataset.node) for row_id in dict.fromkeys(row_ids)]
    rerun = [origin.jobs[0] for origin in origins]
    if with_labels:
        rerun += [job for origin in origins if (job := _labelling_job(origin)) is not None]
    refuse_unused_files(means.models, [nested_inputs(job) for job in rerun] if means.models else [])
    for group in _group_by_run(origins):
        jobs, steps = group[0].jobs, sorted({_step(origin) for origin in group})
        notify(f'exploring seed {group[0].seed.seed_id} again up to step {steps[-1]} for {counted(len(group), "row")}')
        altered = {origin.row.id: find_altered_nodes(origin) for origin in group}
        try:
            computed = explore_again(jobs, steps, means)
            labels = _label_again(group, means, notify) if with_labels else {}
        except Exception:  # damaged files of nodes raise various errors
            if not any(altered.values()):
                raise
            computed, labels = Computed(failure='a node that the job needs is damaged'), {}
        for origin in group:
            yield _compare(origin, altered[origin.row.id], computed, labels, with_labels)


def _group_by_run(origins: Sequence[Origin]) -> Iterator[list[Origin]]:
    """Yield the rows of each run. The first row of a group has the most legs; the others have only some of these."""
    groups: list[list[Origin]] = []
    for origin in sorted(origins, key=lambda one: -len(one.jobs)):
        chain = [job.uuid for job in origin.jobs]
        for group in groups:
            if [job.uuid for job in group[0].jobs[: len(chain)]] == chain:
                group.append(origin)
                break
        else:
            groups.append([origin])
    yield from groups


def _label_again(group: Sequence[Origin], means: Means, notify: Notify) -> dict[str, Computed]:
    """Return the labels of the rows, by the uuid of the job that computed them first."""
    keys: dict[str, list[str]] = {}
    jobs: dict[str, orm.CalcJobNode] = {}
    for origin in group:
        if (job := _labelling_job(origin)) is not None:
            jobs[job.uuid] = job
            keys.setdefault(job.uuid, []).append(origin.row.data[LABELLING]['key'])
    computed = {}
    for uuid, job in jobs.items():
        notify(f'computing {counted(len(keys[uuid]), "label")} again')
        computed[uuid] = label_again(job, keys[uuid], means)
    return computed


def _labelling_job(origin: Origin) -> orm.CalcJobNode | None:
    process = origin.labelling
    is_job = process is not None and issubclass(process.process_class, LabellingCalculation)
    return process if is_job and origin.labels is not None else None


def _compare(
    origin: Origin, altered_nodes: Sequence[str], computed: Computed, labels: dict[str, Computed], with_labels: bool
) -> Reproduction:
    altered = [*find_altered_values(origin), *altered_nodes, *computed.altered]
    label = _compare_label(origin, labels) if with_labels else None
    job = _labelling_job(origin)
    if job is not None and job.uuid in labels:
        altered += labels[job.uuid].altered
    step = _step(origin)
    if computed.failure:
        frame = Comparison('not_run', message=computed.failure, environment=computed.environment)
    else:
        found = computed.frames.get(step)
        message = '' if found is not None else computed.message or f'no frame is stored at step {step}'
        frame = _judge(found or {}, graph_frame(origin), file_frame(origin), computed, origin.jobs, message)
    row_id = int(origin.row.id or 0)
    return Reproduction(row_id, origin.seed.seed_id, step, frame, label, tuple(dict.fromkeys(altered)))


def _compare_label(origin: Origin, labels: dict[str, Computed]) -> Comparison | None:
    """Return the comparison of the labels of a reference method; None if the row has no such labels."""
    job, expected = _labelling_job(origin), graph_label(origin)
    about = origin.trajectory.base.attributes.get('about')
    if job is None or origin.labels is None or expected is None:
        if origin.row.level_hash == level_of_labels(origin.trajectory, about).hash:
            return None
        source = 'the process that computed them is not in this profile'
        if origin.labelling is not None:
            source = f'they were made by {origin.labelling.process_label}'
        return Comparison(
            'not_run', message=f'labels are reproduced only if a job of this program computed them; {source}'
        )
    computed = labels.get(job.uuid, Computed(failure='the frame could not be computed'))
    if computed.failure:
        return Comparison('not_run', message=computed.failure, environment=computed.environment)
    found = computed.labels.get(origin.row.data[LABELLING]['key'])
    of_row = row_labels(origin.row, origin.labels.level.hash)
    if isinstance(found, Label):
        frame, message = label_frame(found), ''
    else:
        frame, message = {}, 'no label' + (f': {found.reason}' if isinstance(found, Failure) else '')
    return _judge(frame, label_frame(expected), of_row, computed, [job], message)


def _judge(
    found: Frame, of_graph: Frame, of_row: Frame, computed: Computed, jobs: Sequence[orm.CalcJobNode], message: str
) -> Comparison:
    """Compare a frame or a label with the graph, with the row, and with what its original jobs recorded."""
    differences: list[str] = []
    missing: list[str] = []
    # A killed job has no result; the job that recovered its files has one.
    for job in (one for one in jobs if one.is_finished):
        inputs, recorded = nested_inputs(job), job.outputs.result.get_dict()
        image = inputs['image_sha256'].value if 'image_sha256' in inputs else None
        environment = Environment.model_validate(inputs['environment'].get_dict())
        if computed.result is not None:
            differences += find_differences(environment, recorded, image, computed.result)
        missing += find_missing(recorded)
    known = tuple(dict.fromkeys(differences)), tuple(dict.fromkeys(missing))
    return judge(found, of_graph, of_row, *known, message, computed.environment)


def _step(origin: Origin) -> int:
    return int(origin.trajectory.get_stepids()[origin.frame])


def _parse_amount(amount: str, n_rows: int) -> int:
    text = amount.strip()
    try:
        number = float(text.removesuffix('%')) if text.endswith('%') else int(text)
    except ValueError:
        number = math.nan
    limit = 100 if text.endswith('%') else math.inf
    if not 0 < number <= limit:
        raise AutopipeError(
            Code.VALUE_INVALID,
            f'--sample: got {amount!r}; must be a number of rows, such as 20, or a percentage, such as 5%',
        )
    return math.ceil(n_rows * number / 100) if text.endswith('%') else int(number)
