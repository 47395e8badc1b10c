"""Codes on any computer, each tried by a job before it is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.engine import ProcessBuilder

from aiida_mlip_autopipe.calculations.self_test import SelfTestCalculation
from aiida_mlip_autopipe.config.execution import JobResources
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.errors import AutopipeError
from aiida_mlip_autopipe.exploration import CALCULATORS, RUNNER_VERSION
from aiida_mlip_autopipe.exploration.contract import CONTRACT_VERSION
from aiida_mlip_autopipe.installation.codes import IMAGE_SHA256, code_label, keep_self_test
from aiida_mlip_autopipe.installation.computers import absolute_path
from aiida_mlip_autopipe.installation.images import PYTHON_IN_IMAGE, engine_command, hash_image, tell_image_hash
from aiida_mlip_autopipe.installation.models import ensure_model_folder, ensure_placed
from aiida_mlip_autopipe.workflows.jobs import job_options, user_python_path
from aiida_mlip_autopipe.workflows.models import model_node

Launch = Callable[[ProcessBuilder], orm.CalcJobNode]


@dataclass(frozen=True)
class Program:
    """What a code runs.

    Attributes
    ----------
    computer
        Where.
    python
        The interpreter there, or within the image; None with an image for the one of the package's own images.
    image
        The image's file on the computer; None for an environment without one. Paths may begin with ``~/``.
    prepend_text
        Lines of shell before it, as ``module load apptainer``.
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
        ``found``, ``created`` or ``replaced``.
    report
        What the self-test found.
    """

    code: orm.AbstractCode
    done: str
    report: dict[str, Any]


def register_code(
    kind: str, program: Program, launch: Launch, *, model: str | None = None, resources: JobResources | None = None
) -> Registered:
    """Make the code of a calculator and keep it if its self-test passes.

    Parameters
    ----------
    kind
        The calculator.
    program
        What the code runs.
    launch
        Runs a job to its end.
    model
        The model to try, for a calculator without one of its own: a name, or a file that was placed on the computer.
    resources
        What the self-test asks for.

    Raises
    ------
    AutopipeError
        If the self-test fails; the code is then set aside under another label.
    """
    CALCULATORS.load(kind)
    program = _with_absolute_paths(program)
    image_sha256 = hash_image(program.computer, program.image) if program.image else None
    wanted = _make_code(kind, program)
    before = _load_code(wanted.full_label)
    code = before if before is not None and _are_same(before, wanted) else wanted
    if code is wanted and before is not None:
        # Finished campaigns refer to it.
        before.label = f'{before.label}-{before.pk}'
    code.store()
    try:
        settings = _settings(kind, model)
        report = _run_self_test(code, settings, launch, resources or JobResources())
        _check_report(report, image_sha256)
    except BaseException:
        if code is wanted:
            _set_aside(code, before)
        raise
    keep_self_test(code, settings, report, resources.model_dump(mode='json') if resources else None)
    if image_sha256 is not None:
        code.base.extras.set(IMAGE_SHA256, image_sha256)
    done = 'found' if code is before else 'created' if before is None else 'replaced'
    return Registered(code, done, report)


def _with_absolute_paths(program: Program) -> Program:
    """Return a program whose files are found from every job's folder; an image's own paths are left as they are."""
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
            raise AutopipeError('a code is an interpreter or an image: give --python or --image')
        return orm.InstalledCode(
            **about,
            filepath_executable=program.python,
            prepend_text=program.prepend_text,
            description=f'{kind} in an environment',
        )
    # Apptainer's arguments hold $PWD, which single quotes would keep from being the job's folder.
    program.computer.set_use_double_quotes(True)
    return orm.ContainerizedCode(
        **about,
        filepath_executable=program.python or PYTHON_IN_IMAGE,
        image_name=program.image,
        engine_command=engine_command(ensure_model_folder(program.computer)),
        prepend_text='\n'.join(filter(None, (program.prepend_text, tell_image_hash(program.image)))),
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


def _model_to_try(settings: dict[str, Any], code: orm.AbstractCode) -> ModelData | None:
    """Return the node of the model file that a self-test tries, placed on the computer; None where there is no file."""
    if 'model' not in settings:
        return None
    parsed = CALCULATORS.load(settings['kind']).settings_class.model_validate(settings)
    if CALCULATORS.make(parsed).uses_shipped_model:
        # It comes with the code, which is about to say what its sha256 is.
        return None
    model = model_node(parsed, code, try_it=False)
    if model is not None:
        ensure_placed(model, code)
    return model


def _run_self_test(
    code: orm.AbstractCode, settings: dict[str, Any], launch: Launch, resources: JobResources
) -> dict[str, Any]:
    builder = SelfTestCalculation.get_builder()
    builder.code = code
    model = _model_to_try(settings, code)
    if model is None:
        builder.calculator = orm.Dict(settings)
    else:
        builder.calculator, builder.model = orm.Dict({'kind': settings['kind']}), model
    builder.python_path = user_python_path()
    options = job_options(resources, code.computer)
    if resources.gpus_per_job:
        # Not every scheduler tells a job which GPU it has.
        options['environment_variables'] = {'APPTAINER_NV': '1'}
    builder.metadata.options = options
    job = launch(builder)
    if job.is_finished_ok:
        report: dict[str, Any] = job.outputs.report.get_dict()
        return report
    reason = job.exit_message or job.process_status or f'its job is {job.process_state.value}'
    where = job.outputs.remote_folder.get_remote_path() if 'remote_folder' in job.outputs else 'nowhere'
    raise AutopipeError(
        f'the calculator {settings["kind"]!r} does not run with {code.full_label}: {reason} '
        f'(its job was in {where} on {code.computer.label})'
    )


def _check_report(report: dict[str, Any], image_sha256: str | None) -> None:
    """Refuse a code whose package is another version where that matters, or that was started from another image."""
    here = {'contract_version': CONTRACT_VERSION, 'runner_version': RUNNER_VERSION}
    differ = [f'{name} {report.get(name)}, here it is {value}' for name, value in here.items() if report[name] != value]
    if differ:
        raise AutopipeError(
            f'the package there is version {report["package"]} with {"; ".join(differ)}: install the same version'
        )
    if report['image_sha256'] != image_sha256:
        raise AutopipeError(f'the job ran in an image of sha256 {report["image_sha256"]}, expected was {image_sha256}')


def _set_aside(code: orm.InstalledCode, before: orm.AbstractCode | None) -> None:
    """Hide a code that does not work, and give its label back to the one before.

    It is not deleted: SQLite would give its number to another node, which a running daemon takes for this one.
    """
    label = code.label
    code.label = f'{label}-failed-{code.pk}'
    code.is_hidden = True
    if before is not None:
        before.label = label
