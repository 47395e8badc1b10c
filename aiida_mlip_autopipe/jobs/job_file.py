"""Read the ``job.json`` of any job, and refuse invalid jobs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from aiida_mlip_autopipe.calculators.base import CalculatorRefusedError
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.jobs.contract import CONTRACT_VERSION, IMAGE_VARIABLE, JOB_FILE, AnyJob

J = TypeVar('J', bound=AnyJob)


class JobRefusedError(AutopipeError):
    """A job is refused. The attribute ``code`` gives the reason."""


def read_job_as(model: type[J], path: Path, method: str, version: str) -> J:
    """Read a ``job.json``.

    Parameters
    ----------
    model
        The pydantic model of the job.
    path
        The file.
    method
        The method of the job, as in its field ``{method}_version``.
    version
        The version of the method in this package.

    Raises
    ------
    JobRefusedError
        If the file is missing or invalid, or the job was made for another version or image.
    """
    content = read_content(path)
    with refusing_settings(JOB_FILE):
        job = model.model_validate(content)
    expected = getattr(job, f'{method}_version')
    if expected != version:
        raise JobRefusedError(
            Code.CONTRACT_VERSION,
            f'{path.name} was made for version {expected} of the {method}, but the package in this environment has '
            f'version {version}; install the same version of aiida-mlip-autopipe on both sides',
        )
    check_image(job.image_sha256)
    return job


def read_content(path: Path) -> dict[str, Any]:
    """Read a ``job.json`` of this version of the contract.

    Raises
    ------
    JobRefusedError
        If the file is missing or has a different version.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise JobRefusedError(Code.CONTRACT_VERSION, f'{path.name} cannot be read: {error}') from error
    version = content.get('contract_version') if isinstance(content, dict) else None
    if version != CONTRACT_VERSION:
        raise JobRefusedError(
            Code.CONTRACT_VERSION,
            f'{path.name} has contract version {version}, but the package in this environment has {CONTRACT_VERSION}; '
            'install the same version of aiida-mlip-autopipe on both sides',
        )
    return dict(content)


def check_image(expected: str | None) -> None:
    """Refuse an image that is not the expected one.

    A container cannot read its own image. The submission script hashes the file before it starts the container, and
    passes its sha256 in an environment variable.

    Raises
    ------
    JobRefusedError
        If the sha256 differs or was not passed.
    """
    found = os.environ.get(IMAGE_VARIABLE, '')
    if expected is not None and found != expected:
        shown = f'the sha256 {found[:12]}…' if found else 'an unknown sha256'
        raise JobRefusedError(
            Code.MODEL_MISMATCH, f'the image of this job has {shown}, but the job expects {expected[:12]}…'
        )


@contextmanager
def refusing_settings(place: str) -> Iterator[None]:
    """Refuse a job if a part of it, named ``place``, is invalid."""
    try:
        yield
    except ValidationError as error:
        faults = [
            f'{".".join([place, *map(str, fault["loc"])])}: {fault["msg"]} (got {fault["input"]!r})'
            for fault in error.errors()
        ]
        raise JobRefusedError(Code.SETTINGS_REFUSED, '; '.join(faults)) from error
    except CalculatorRefusedError:
        raise
    except AutopipeError as error:
        raise JobRefusedError(error.code, f'{place}: {error}') from error
    except ValueError as error:
        raise JobRefusedError(Code.SETTINGS_REFUSED, f'{place}: {error}') from error
