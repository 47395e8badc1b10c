"""Descriptor job: compute the descriptors of structures and write them to a file."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from pydantic import TypeAdapter

from aiida_mlip_autopipe.calculators.base import Describer
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.reading.arrays import open_npz, require_array
from aiida_mlip_autopipe.descriptors import DESCRIPTORS_VERSION
from aiida_mlip_autopipe.descriptors.contract import DESCRIPTORS_FILE, DescriptorsJob
from aiida_mlip_autopipe.descriptors.describe import AnyDescriptor
from aiida_mlip_autopipe.descriptors.environments import project_environments, report_environments
from aiida_mlip_autopipe.descriptors.learned import LearnedSettings
from aiida_mlip_autopipe.descriptors.pca import PCA
from aiida_mlip_autopipe.descriptors.soap.settings import choose_compression, describe_in_blocks
from aiida_mlip_autopipe.jobs.allocated import allocated_threads
from aiida_mlip_autopipe.jobs.interruptions import Interruptions
from aiida_mlip_autopipe.jobs.job_file import JobRefusedError, read_job_as, refusing_settings
from aiida_mlip_autopipe.jobs.loading import (
    check_elements,
    check_environment,
    describe_loaded,
    make_loader,
    refusing_to_load,
)
from aiida_mlip_autopipe.jobs.runner import software_versions
from aiida_mlip_autopipe.structures.structures_file import Structures

BLOCK = 64


def describe_frames(job_file: Path, facts: dict[str, Any], interruptions: Interruptions) -> None:
    """Run a descriptor job, which writes the descriptors in blocks.

    Raises
    ------
    JobRefusedError, CalculatorRefusedError
        If the job is invalid or the calculator cannot be loaded.
    """
    folder = job_file.parent
    with interruptions.raising():
        job = read_job_as(DescriptorsJob, job_file, 'descriptors', DESCRIPTORS_VERSION)
        facts.update(image_sha256=job.image_sha256)
        interruptions.set_limit(job.max_wallclock_s, None)
        with refusing_settings('descriptor'):
            settings = TypeAdapter(AnyDescriptor).validate_python(job.descriptor)
        structures = _read_structures(folder / job.structures, job)
        report: dict[str, Any] = {}
        n_rows = np.ones(len(structures), dtype=np.int64)
        if isinstance(settings, LearnedSettings):
            blocks = _describe_by_calculator(structures, job, facts)
        else:
            environment = job.environment.without_calculator()
            check_environment(environment, None)
            facts.update(environment=environment)
            n_jobs = allocated_threads(os.environ)
            facts.update(versions=software_versions(None))
            if job.pca is None:
                report['compression'] = choose_compression(settings, len(job.species))
                blocks = describe_in_blocks(structures, job.species, settings, n_jobs)
            else:
                pca = _read_pca(folder / job.pca)
                report = report_environments(settings, job.species, pca)
                blocks = project_environments(structures, job.species, settings, pca)
                n_rows = structures.sizes
    _write(folder / DESCRIPTORS_FILE, blocks, n_rows, facts, interruptions)
    facts['statistics'] |= report


def _read_structures(path: Path, job: DescriptorsJob) -> Structures:
    try:
        structures = Structures(path)
    except (OSError, ValueError) as error:
        raise JobRefusedError(Code.FILE_UNREADABLE, f'the structures in {path.name} cannot be read: {error}') from error
    unknown = structures.numbers - set(job.species)
    if unknown:
        symbols = ', '.join(chemical_symbols[z] for z in sorted(unknown))
        raise JobRefusedError(Code.ELEMENT_UNSUPPORTED, f'the descriptor does not support {symbols}')
    return structures


def _read_pca(path: Path) -> PCA:
    try:
        with open_npz(path) as arrays:
            mean = require_array(arrays, 'mean', 'float', None, finite=True)
            directions = require_array(arrays, 'directions', 'float', len(mean), None, finite=True)
            return PCA(mean, directions, require_array(arrays, 'variances', 'float', len(mean), finite=True))
    except (OSError, ValueError) as error:
        raise JobRefusedError(
            Code.FILE_UNREADABLE, f'the principal components in {path.name} cannot be read: {error}'
        ) from error


def _describe_by_calculator(structures: Structures, job: DescriptorsJob, facts: dict[str, Any]) -> Iterator[np.ndarray]:
    """Load the calculator. Return an iterator over blocks of its descriptors, which are averaged over the atoms."""
    if job.calculator is None:
        raise JobRefusedError(Code.SETTINGS_REFUSED, 'learned descriptors need a calculator, but the job has none')
    facts.update(calculator_name=str(job.calculator.get('kind', '')))
    loader = make_loader(job.calculator, job.environment.device)
    facts.update(model_name=loader.model_name(), model_sha256=loader.check())
    check_environment(job.environment, loader)
    started = time.monotonic()
    with refusing_to_load(loader):
        loaded, describe = loader.load_describer()
    check_environment(job.environment, loader, loaded.device)
    for atoms in structures:
        check_elements(loader, loaded, atoms)
    facts.update(describe_loaded(job.environment, loader, loaded, time.monotonic() - started))
    return _means(structures, describe)


def _means(structures: Structures, describe: Describer) -> Iterator[np.ndarray]:
    remaining = iter(structures)
    while block := list(islice(remaining, BLOCK)):
        yield np.array([_mean(describe, atoms) for atoms in block], dtype=np.float32)


def _mean(describe: Describer, atoms: Atoms) -> np.ndarray:
    mean = np.asarray(describe(atoms), dtype=np.float64).mean(axis=0)
    scaled: np.ndarray = mean / np.linalg.norm(mean)
    return scaled


def _write(
    path: Path, blocks: Iterator[np.ndarray], n_rows: np.ndarray, facts: dict[str, Any], interruptions: Interruptions
) -> None:
    """Write the descriptors to a file, and record the outcome of the job.

    Parameters
    ----------
    path
        The file.
    blocks
        The descriptors in blocks of several structures, in the order of the structures.
    n_rows
        The number of rows of each structure.
    facts
        Fields of the result of the job.
    interruptions
        Checks between two blocks whether the job must end.

    Raises
    ------
    AutopipeError
        If a descriptor is not finite.
    """
    started, n_written, n_done, features = time.monotonic(), 0, 0, None
    ends = np.cumsum(n_rows)
    interruptions.restart_stopwatch()
    for block in blocks:
        is_finite = np.isfinite(block).all(axis=1)
        if not is_finite.all():
            index = int(np.searchsorted(ends, n_written + int(is_finite.argmin()), side='right'))
            raise AutopipeError(Code.DESCRIPTORS_INVALID, f'the descriptors of structure {index} are not finite')
        if features is None:
            shape = (int(ends[-1]), block.shape[1])
            features = np.lib.format.open_memmap(path, mode='w+', dtype=np.float32, shape=shape)
        features[n_written : n_written + len(block)] = block
        n_written += len(block)
        n_done = int(np.searchsorted(ends, n_written, side='right'))
        if n_done < len(ends) and (reason := interruptions.check()) is not None:
            message = f'{interruptions.message}; number of finished structures: {n_done} of {len(ends)}'
            facts.update(outcome=reason, message=message)
            break
    else:
        facts.update(outcome='completed')
    if features is not None:
        features.flush()
        facts.update(statistics={'n_features': features.shape[1]})
    facts.update(n_frames=n_done, loop_s=time.monotonic() - started)
