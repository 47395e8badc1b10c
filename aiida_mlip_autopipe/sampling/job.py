"""Selection job. Its selection is bitwise identical to one that is made without a job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.reading.arrays import open_npz, require_array
from aiida_mlip_autopipe.core.reading.json_text import parse_json
from aiida_mlip_autopipe.descriptors.describe import Descriptors
from aiida_mlip_autopipe.jobs.interruptions import Interrupted, Interruptions
from aiida_mlip_autopipe.jobs.job_file import JobRefusedError, read_job_as, refusing_settings
from aiida_mlip_autopipe.jobs.loading import check_environment
from aiida_mlip_autopipe.jobs.runner import software_versions
from aiida_mlip_autopipe.sampling import STAGE_VERSION, Selection, SelectionRequest, sampling_union
from aiida_mlip_autopipe.sampling.contract import REPORT_FILE, SELECTION_FILE, SelectionJob
from aiida_mlip_autopipe.sampling.pool.reference_dataset import read_reference_dataset
from aiida_mlip_autopipe.sampling.trajectories_file import read_features, read_trajectories
from aiida_mlip_autopipe.structures.rows.splits import Split


def select_in_job(job_file: Path, facts: dict[str, Any], interruptions: Interruptions) -> None:
    """Run a selection job. An interrupted job writes no selection.

    Raises
    ------
    JobRefusedError
        If the job is invalid, or no selection is possible.
    """
    folder = job_file.parent
    job = read_job_as(SelectionJob, job_file, 'sampling', STAGE_VERSION)
    environment = job.environment.without_calculator()
    check_environment(environment, None)
    facts.update(image_sha256=job.image_sha256, environment=environment, versions=software_versions(None))
    interruptions.set_limit(job.max_wallclock_s, None)
    try:
        with interruptions.watching():
            request = _read_request(job, folder)
            try:
                selection = request.select()
            except AutopipeError as error:
                raise JobRefusedError(Code.SAMPLING, str(error)) from error
    except Interrupted:
        facts.update(outcome=interruptions.reason, message=f'{interruptions.message} before the selection was complete')
        return
    _write(selection, folder)
    facts.update(outcome='completed', n_frames=len(selection))


def _read_request(job: SelectionJob, folder: Path) -> SelectionRequest:
    with refusing_settings('sampling'):
        settings = TypeAdapter(sampling_union()).validate_python(job.sampling)
    try:
        trajectories = read_trajectories(folder / job.trajectories, job.seed_ids)
        described = {}
        for key, facts in job.described.items():
            features, of_reference = read_features(folder / job.features, key, len(trajectories))
            described[key] = Descriptors(features, facts.species, facts.report, of_reference)
        reference = () if job.reference is None else tuple(read_reference_dataset(folder / job.reference))
    except Exception as error:  # NumPy and ASE raise various errors for missing and truncated files
        raise JobRefusedError(Code.FILE_UNREADABLE, f'the files of the job cannot be read: {error}') from error
    return SelectionRequest(
        trajectories=trajectories,
        settings=settings,
        random_seed=job.random_seed,
        groups=job.groups,
        kinds=job.kinds,
        labels=job.labels,
        described=described,
        reference=reference,
    )


def _write(selection: Selection, folder: Path) -> None:
    arrays = ('trajectory_indices', 'frame_indices', 'distances', 'gains')
    np.savez(folder / SELECTION_FILE, **{name: getattr(selection, name) for name in arrays})
    content = {'splits': selection.splits, 'report': selection.report}
    (folder / REPORT_FILE).write_text(json.dumps(content, allow_nan=False))


def read_selection(folder: Path) -> Selection:
    """Read the selection that a job has written to a folder.

    Raises
    ------
    OSError, ValueError
        If a file cannot be read or is damaged.
    """
    content = parse_json((folder / REPORT_FILE).read_bytes())
    if not isinstance(content, dict) or not isinstance(content.get('report'), dict):
        raise ValueError(f'{REPORT_FILE} has no report')
    splits = TypeAdapter(tuple[Split | None, ...]).validate_python(content.get('splits'))
    with open_npz(folder / SELECTION_FILE) as arrays:
        n = len(splits)
        indices = {name: require_array(arrays, name, 'integer', n) for name in ('trajectory_indices', 'frame_indices')}
        if any((one < 0).any() for one in indices.values()):
            raise ValueError('an index is negative')
        values = {name: require_array(arrays, name, 'number', n) for name in ('distances', 'gains')}
        return Selection(**indices, **values, splits=splits, report=content['report'])
