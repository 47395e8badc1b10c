"""``mlip-autopipe calculator``: calculators, their codes and their models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from aiida.engine import ProcessBuilder
    from aiida.orm import CalcJobNode

    from aiida_mlip_autopipe.jobs.resources import JobResources

calculator_app = typer.Typer(help='Manage calculators, their codes and their models.', no_args_is_help=True)

Name = Annotated[str, typer.Argument(help='Kind of the calculator: emt, sevennet, mace, chgnet, …', show_default=False)]
ProfileOption = Annotated[str | None, typer.Option('--profile', '-p', help='AiiDA profile.')]
ComputerOption = Annotated[str, typer.Option('--computer', help='AiiDA computer; see `mlip-autopipe computer add`.')]


@calculator_app.command('list')
def list_calculators(profile: ProfileOption = None) -> None:
    """List the calculators and their codes.

    The versions and devices of the codes are those of their last self-test.
    """
    from rich.table import Table

    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.exploration import CALCULATORS
    from aiida_mlip_autopipe.installation.codes import list_codes
    from aiida_mlip_autopipe.installation.environments import installed_version
    from aiida_mlip_autopipe.installation.profile import open_profile

    open_profile(profile)
    table = Table('calculator', 'in this environment', box=None, padding=(0, 2, 0, 0))
    for kind in CALCULATORS:
        table.add_row(kind, installed_version(kind) or '-')
    console.print(table)
    codes = Table('code', 'runs', 'version', 'device', box=None, padding=(0, 2, 0, 0))
    for code, report in list_codes():
        program = getattr(code, 'image_name', None) or str(code.filepath_executable)
        codes.add_row(code.full_label, program, report.get('calculator_version') or '-', report.get('device', '-'))
    console.print()
    console.print(codes if codes.rows else "no codes; create one for this machine with 'mlip-autopipe setup'")


@calculator_app.command()
def install(
    name: Name,
    folder: Annotated[Path | None, typer.Option(help='Folder to install in; by default, in ~/.local/share.')] = None,
    requirement: Annotated[
        str | None,
        typer.Option(help='What pip installs, such as a wheel; by default, the source or version of this package.'),
    ] = None,
    constraint: Annotated[Path | None, typer.Option(help='Constraints file for pip, with tested versions.')] = None,
    model: Annotated[str | None, typer.Option(help='Model for the self-test.')] = None,
    profile: ProfileOption = None,
) -> None:
    """Install a calculator on this machine and create its code.

    The calculator is installed in a separate virtual environment.
    """
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.installation.codes import describe_self_test
    from aiida_mlip_autopipe.installation.profile import open_profile
    from aiida_mlip_autopipe.installation.this_machine import install_calculator

    open_profile(profile)
    with console.status(f'installing {name} (this takes a few minutes) …'):
        code = install_calculator(name, folder, requirement, constraint, model)
    console.print(f'[green]✓[/] code {code.label}: {code.done}')
    console.print(f'  {describe_self_test(code.report)}', style='dim')


@calculator_app.command(context_settings={'allow_extra_args': True, 'ignore_unknown_options': True})
def build(context: typer.Context, name: Name) -> None:
    """Build the Apptainer image of a calculator.

    Other options are passed to containers/build.sh.
    """
    from aiida_mlip_autopipe.installation.environments import build_image

    build_image(name, context.args)


@calculator_app.command()
def register(
    name: Name,
    computer: ComputerOption,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help='Resources of the self-test, such as queue=gpu gpus_per_job=1.', show_default=False),
    ] = None,
    image: Annotated[str | None, typer.Option(help='Apptainer image on the computer.')] = None,
    python: Annotated[
        str | None, typer.Option(help='Python interpreter on the computer or in the image.', show_default=False)
    ] = None,
    model: Annotated[str | None, typer.Option(help='Model for the self-test: a name, or a file to copy there.')] = None,
    prepend: Annotated[str, typer.Option(help="Shell commands before each job, such as 'module load apptainer'.")] = '',
    timeout_s: Annotated[float, typer.Option('--timeout', help='Maximum time for the self-test, in seconds.')] = 1800,
    profile: ProfileOption = None,
) -> None:
    """Create the code of a calculator on a computer.

    The code is created only if a self-test on the computer succeeds.
    """
    from aiida_mlip_autopipe.campaigns.registration import Program, register_code
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.installation.codes import describe_self_test
    from aiida_mlip_autopipe.installation.computers import load_computer
    from aiida_mlip_autopipe.installation.profile import ensure_daemon, open_profile

    open_profile(profile)
    program = Program(load_computer(computer), python, image, prepend)
    resources = _read_resources(overrides or [])
    ensure_daemon()
    registered = register_code(
        name, program, lambda builder: _submit_and_wait(builder, timeout_s), model=model, resources=resources
    )
    report = registered.report
    console.print(f'[green]✓[/] code [bold]{registered.code.full_label}[/]: {registered.done}')
    console.print(f'  {describe_self_test(report)}', style='dim')
    console.print(f'  package {report["package"]}, contract {report["contract_version"]}', style='dim')
    for file in ('model', 'image'):
        if report.get(f'{file}_sha256'):
            console.print(f'  {file} sha256 {report[f"{file}_sha256"]}', style='dim')


@calculator_app.command('test')
def repeat_self_test(
    code: Annotated[str, typer.Argument(help='LABEL@COMPUTER; see `mlip-autopipe calculator list`.')],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help='Resources of the self-test, such as queue=gpu gpus_per_job=1.', show_default=False),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help='Config file; its calculators that use the code are tested.', show_default=False)
    ] = None,
    timeout_s: Annotated[float, typer.Option('--timeout', help='Maximum time for the self-test, in seconds.')] = 1800,
    profile: ProfileOption = None,
) -> None:
    """Repeat the self-test of a code.

    The test records the environment that the jobs of the code must have. By default, it uses the calculators and the
    resources of the last test.
    """
    from aiida_mlip_autopipe.campaigns.self_tests import repeat_self_tests
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.config import load_config
    from aiida_mlip_autopipe.installation.codes import describe_self_test
    from aiida_mlip_autopipe.installation.profile import open_profile
    from aiida_mlip_autopipe.workflows.inputs.codes import load_code

    campaign = None if config is None else load_config(config)
    requested = _read_resources(overrides) if overrides else None
    open_profile(profile)
    tested = load_code(code, 'the code to test')
    for one in repeat_self_tests(tested, lambda builder: _submit_and_wait(builder, timeout_s), campaign, requested):
        console.print(f'[green]✓[/] code [bold]{one.code}[/]: {one.calculator} recorded, {one.environment}')
        console.print(f'  {describe_self_test(one.report)}', style='dim')
        for change in one.changes:
            console.print(f'  {change.name} {change.shown}')


@calculator_app.command()
def place(
    model: Annotated[Path, typer.Argument(help='Model file on this machine.', show_default=False)],
    computer: ComputerOption,
    profile: ProfileOption = None,
) -> None:
    """Copy a model file to a computer, unless it is already there.

    The jobs on the computer use it through a link.
    """
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.installation.computers import load_computer
    from aiida_mlip_autopipe.installation.models import place_model
    from aiida_mlip_autopipe.installation.profile import ensure_daemon, open_profile

    open_profile(profile)
    # AiiDA's transport to other machines requires the broker, which the daemon starts.
    ensure_daemon()
    path, copied = place_model(load_computer(computer), model)
    console.print(f'[green]✓[/] {path} on {computer}: {"copied" if copied else "found"}, sha256 verified')


def _read_resources(overrides: list[str]) -> JobResources:
    from pydantic import ValidationError

    from aiida_mlip_autopipe.config.faults import faults_of
    from aiida_mlip_autopipe.core.codes import Code
    from aiida_mlip_autopipe.core.errors import AutopipeError, ConfigError
    from aiida_mlip_autopipe.jobs.resources import JobResources

    values: dict[str, Any] = {}
    for override in overrides:
        key, equals, value = override.partition('=')
        if not equals:
            raise AutopipeError(
                Code.OVERRIDE_INVALID,
                f'{override!r} is malformed; write key=value with one of the keys '
                f'{", ".join(JobResources.model_fields)}',
            )
        values[key] = value
    try:
        return JobResources.model_validate(values)
    except ValidationError as error:
        raise ConfigError(faults_of(error, values, JobResources)) from None


def _submit_and_wait(builder: ProcessBuilder, timeout_s: float) -> CalcJobNode:
    """Submit a job to the daemon, and show its state until it ends. For the errors, see `campaigns.jobs`."""
    from aiida_mlip_autopipe.campaigns import jobs
    from aiida_mlip_autopipe.cli.console import error_console

    with error_console.status('') as status:
        return jobs.submit_and_wait(builder, timeout_s, status.update)
