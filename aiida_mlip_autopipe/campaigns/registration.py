"""Register codes on any computer after a self-test, which runs there as a job."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.exceptions import NotExistent

from aiida_mlip_autopipe.campaigns.self_tests import Launch, check_report, run_self_test_job
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.exploration import CALCULATORS
from aiida_mlip_autopipe.installation.codes import IMAGE_SHA256, code_label, store_self_test
from aiida_mlip_autopipe.installation.computers import absolute_path
from aiida_mlip_autopipe.installation.images import PYTHON_IN_IMAGE, engine_command, hash_image, image_hash_script
from aiida_mlip_autopipe.installation.models import ensure_model_folder
from aiida_mlip_autopipe.jobs.resources import JobResources


@dataclass(frozen=True)
class Program:
    """The program of a code.

    Attributes
    ----------
    computer
        The computer.
    python
        The interpreter on the computer or in the image; None for the default one of an image from ``containers/``.
    image
        The file of the image on the computer; None for an environment without an image. Paths may begin with ``~/``.
    prepend_text
        Shell commands that run first, such as ``module load apptainer``.
    """

    computer: orm.Computer
    python: str | None = None
    image: str | None = None
    prepend_text: str = ''


@dataclass(frozen=True)
class Registered:
    """A code that passed its self-test.

    Attributes
    ----------
    code
        The code.
    done
        What was done: the code was ``found``, ``created`` or ``replaced``.
    report
        The result of the self-test.
    """

    code: orm.AbstractCode
    done: str
    report: dict[str, Any]


def register_code(
    kind: str, program: Program, launch: Launch, *, model: str | None = None, resources: JobResources | None = None
) -> Registered:
    """Create the code of a calculator, and register it if its self-test passes.

    Parameters
    ----------
    kind
        The calculator.
    program
        The program of the code.
    launch
        Runs a job to its end and returns its node.
    model
        The model to test, for a calculator that ships no model: a name, or a file, which is copied to the computer.
    resources
        The resources of the self-test.

    Raises
    ------
    AutopipeError
        If the self-test fails. A new code is then hidden and gets another label.
    """
    CALCULATORS.load(kind)
    resources = resources or JobResources()
    program = _with_absolute_paths(program)
    image_sha256 = hash_image(program.computer, program.image) if program.image else None
    new = _make_code(kind, program)
    before = _load_code(new.full_label)
    code = before if before is not None and _are_same(before, new) else new
    if code is new and before is not None:
        # Finished campaigns refer to it.
        before.label = f'{before.label}-{before.pk}'
    code.store()
    try:
        settings = _settings(kind, model)
        report = run_self_test_job(code, settings, launch, resources)
        check_report(report, image_sha256)
    except BaseException:
        if code is new:
            _hide(code, before)
        raise
    store_self_test(code, settings, report, resources.model_dump(mode='json'))
    if image_sha256 is not None:
        code.base.extras.set(IMAGE_SHA256, image_sha256)
    done = 'found' if code is before else 'created' if before is None else 'replaced'
    return Registered(code, done, report)


def _with_absolute_paths(program: Program) -> Program:
    """Return a program with absolute paths on its computer; a path within an image is not changed."""
    if program.image is not None:
        return replace(program, image=absolute_path(program.computer, program.image))
    if program.python is not None and '/' in program.python:
        return replace(program, python=absolute_path(program.computer, program.python))
    return program


def _make_code(kind: str, program: Program) -> orm.InstalledCode:
    about = {
        'label': code_label(kind),
        'computer': program.computer,
        'default_calc_job_plugin': 'mlip_autopipe.explore',
        'with_mpi': False,
    }
    if program.image is None:
        if program.python is None:
            raise AutopipeError(
                Code.VALUES_INCOMPLETE, 'a code needs an interpreter or an image: use --python or --image'
            )
        return orm.InstalledCode(
            **about,
            filepath_executable=program.python,
            prepend_text=program.prepend_text,
            description=f'{kind} in an environment',
        )
    # The arguments of Apptainer include $PWD, which the shell does not expand within single quotes.
    program.computer.set_use_double_quotes(True)
    return orm.ContainerizedCode(
        **about,
        filepath_executable=program.python or PYTHON_IN_IMAGE,
        image_name=program.image,
        engine_command=engine_command(ensure_model_folder(program.computer)),
        prepend_text='\n'.join(filter(None, (program.prepend_text, image_hash_script(program.image)))),
        description=f'{kind} in the image {program.image}',
    )


def _load_code(label: str) -> orm.AbstractCode | None:
    try:
        return orm.load_code(label)
    except NotExistent:
        return None


def _are_same(code: orm.AbstractCode, other: orm.AbstractCode) -> bool:
    names = ('filepath_executable', 'image_name', 'engine_command', 'prepend_text')
    return type(code) is type(other) and all(getattr(code, name, '') == getattr(other, name, '') for name in names)


def _settings(kind: str, model: str | None) -> dict[str, Any]:
    if model is None:
        return {'kind': kind}
    return {'kind': kind, 'model': str(Path(model).expanduser().absolute()) if Path(model).is_file() else model}


def _hide(code: orm.InstalledCode, before: orm.AbstractCode | None) -> None:
    """Hide a code that failed its self-test, and give its label back to the previous code.

    The code is not deleted: SQLite would reuse its pk, and a running daemon would mistake the new node for the deleted
    code.
    """
    label = code.label
    code.label = f'{label}-failed-{code.pk}'
    code.is_hidden = True
    if before is not None:
        before.label = label
