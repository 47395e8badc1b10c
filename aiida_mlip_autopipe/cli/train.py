"""``mlip-autopipe train``: fine-tune a model on the labels of a dataset, or train a new one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from aiida.orm import WorkChainNode

    from aiida_mlip_autopipe.campaigns.progress import Progress
    from aiida_mlip_autopipe.campaigns.training.runs import TrainingPlan
    from aiida_mlip_autopipe.training.contract import Training

train_app = typer.Typer(help='Fine-tune a model on the labels of a dataset, or train a new one.', no_args_is_help=True)

ID = Annotated[str, typer.Argument(metavar='ID', help='PK, UUID or name of the training run.', show_default=False)]
PROFILE = Annotated[str | None, typer.Option('--profile', '-p', help='AiiDA profile.')]


@train_app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar='DATASET', help='Dataset with the labels.', show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Argument(help='Overrides, such as training.n_epochs=20.', show_default=False)
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option(
            '--settings',
            help='YAML file with the section training and, if necessary, execution.',
            show_default=False,
        ),
    ] = None,
    kind: Annotated[str | None, typer.Option('--kind', help='Trainer: mace or sevennet.', show_default=False)] = None,
    model: Annotated[
        str | None,
        typer.Option('--model', help='Model to fine-tune: a file, or a name such as 7net-0.', show_default=False),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option('--recipe', help='Recipe: naive, replay or scratch.', show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option('--output', '-o', help='File for the trained model, such as model.pth.', show_default=False),
    ] = None,
    detach: Annotated[bool, typer.Option('--detach', '-d', help='Submit the training and exit.')] = False,
    dry_run: Annotated[bool, typer.Option('--dry-run', help='Print the plan without starting anything.')] = False,
    force: Annotated[bool, typer.Option('--force', help='Overwrite an existing file.')] = False,
    profile: PROFILE = None,
) -> None:
    """Fine-tune a model on the labels of a dataset, or train a new one.

    The progress is shown until the training ends. Ctrl-C does not stop it.
    """
    from aiida_mlip_autopipe.config.training import load_training
    from aiida_mlip_autopipe.core.atomic_write import refuse_existing

    named = {'kind': kind, 'model': model, 'recipe': recipe}
    options = {name: value for name, value in named.items() if value is not None}
    config = load_training(settings, options, overrides or ())
    if output is not None and not dry_run:
        refuse_existing(output, force)

    from aiida_mlip_autopipe.campaigns.submission import Submitted
    from aiida_mlip_autopipe.campaigns.training.runs import (
        load_training_run,
        plan_training,
        submit_training,
    )
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.cli.follow import outliving_ctrl_c
    from aiida_mlip_autopipe.installation.profile import open_profile
    from aiida_mlip_autopipe.storage.dataset import check_dataset_file

    check_dataset_file(file)
    open_profile(profile)
    if dry_run:
        _show_plan(plan_training(config, file))
        return
    with outliving_ctrl_c() as submitted_as:

        def announce(submitted: Submitted) -> None:
            submitted_as(submitted.pk)
            console.print(f'training on [bold]{submitted.name}[/] submitted, id {submitted.pk}')

        submitted = submit_training(config, file, console.print, announce)
        if detach:
            console.print(f"show its progress with 'mlip-autopipe train status {submitted.pk}'")
            if output is not None:
                console.print(f"write its model with 'mlip-autopipe train export {submitted.pk} -o {output}'")
            return
        node = load_training_run(submitted.uuid)
        _follow(node)
    _finish(load_training_run(submitted.uuid), output, force=force)


@train_app.command()
def status(
    identifier: ID,
    follow: Annotated[bool, typer.Option('--follow', '-f', help='Show the progress until the training ends.')] = False,
    profile: PROFILE = None,
) -> None:
    """Show the progress of a training run and, when it has finished, its errors."""
    from aiida_mlip_autopipe.campaigns.progress import read_progress
    from aiida_mlip_autopipe.campaigns.training.runs import load_training_run, read_report
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.installation.profile import open_profile

    open_profile(profile)
    node = load_training_run(identifier)
    if follow:
        _follow(node)
        node = load_training_run(identifier)
    else:
        progress = read_progress(node)
        console.print(_describe(progress), markup=False)
        if progress.failure is not None:
            console.print(f'failed: {progress.failure}', style='red', markup=False)
            console.print(f"continue it with 'mlip-autopipe resume {node.pk}'")
    if node.is_finished_ok:
        _show_report(read_report(node))


@train_app.command()
def export(
    identifier: ID,
    output: Annotated[Path, typer.Option('--output', '-o', help='File to write.', show_default=False)],
    force: Annotated[bool, typer.Option('--force', help='Overwrite an existing file.')] = False,
    profile: PROFILE = None,
) -> None:
    """Write the model of a finished training run, or of a campaign with rounds, to a file."""
    from aiida_mlip_autopipe.campaigns.training.runs import load_training_run
    from aiida_mlip_autopipe.installation.profile import open_profile

    open_profile(profile)
    _write_model(load_training_run(identifier, or_rounds=True), output, force=force)


def _follow(node: WorkChainNode) -> None:
    """Print a line for each epoch until a training run ends.

    Raises
    ------
    AutopipeError
        If it failed.
    """
    from aiida_mlip_autopipe.campaigns.progress import raise_if_failed, watch_campaign
    from aiida_mlip_autopipe.cli.console import console

    shown = ''
    for progress in watch_campaign(node):
        line = _describe(progress)
        if line != shown:
            console.print(line, markup=False)
        shown = line
    raise_if_failed(progress)


def _describe(progress: Progress) -> str:
    """Return a line with the state of a training run and its last epoch."""
    from aiida_mlip_autopipe.cli.follow import describe_training

    assert progress.training is not None
    line = f'{progress.stage}: {describe_training(progress.training)}'
    line += ''.join(f'; job {one.pk} is paused: {one.reason}' for one in progress.paused)
    return line + ('; the daemon is not running' if progress.waits_for_daemon else '')


def _finish(node: WorkChainNode, output: Path | None, *, force: bool) -> None:
    from aiida_mlip_autopipe.campaigns.training.runs import read_report
    from aiida_mlip_autopipe.cli.console import console

    _show_report(read_report(node))
    if output is None:
        console.print(f"write the model to a file with 'mlip-autopipe train export {node.pk} -o FILE'")
    else:
        _write_model(node, output, force=force)


def _write_model(node: WorkChainNode, output: Path, *, force: bool) -> None:
    from aiida_mlip_autopipe.campaigns.training.runs import write_trained_model
    from aiida_mlip_autopipe.cli.console import console

    model = write_trained_model(node, output, force=force)
    console.print(f'[green]✓[/] model in [bold]{output}[/]')
    console.print(f'use it in a config with calculator: {{kind: {model.architecture}, model: {output}}}', markup=False)


def _show_plan(plan: TrainingPlan) -> None:
    from rich.table import Table

    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.wording import counted

    table = Table(show_header=False, box=None)
    table.add_row('model', f'{plan.model}, {counted(plan.n_epochs, "epoch")}')
    table.add_row('code', plan.code)
    for split, n_rows in plan.n_rows.items():
        table.add_row(split, f'{counted(n_rows, "row")} in {counted(plan.n_groups[split], "group")}')
    console.print(table)
    for warning in plan.warnings:
        console.print(warning, style='yellow', markup=False)
    console.print('nothing was started', style='dim')


def _show_report(report: Training) -> None:
    """Print the offsets, and the errors of each set before and after the training."""
    from rich.table import Table

    from aiida_mlip_autopipe.campaigns.training.runs import errors_table
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.wording import counted

    listed = ', '.join(f'{symbol} {energy:+.4f}' for symbol, energy in report.offsets_eV.items())
    note = '' if report.offsets_determined else ' (not determined by the compositions; the sum of squares is minimal)'
    what = 'energies of the elements' if report.recipe == 'scratch' else 'offsets'
    console.print(f'{what}, eV per atom: {listed}{note}', markup=False)
    if report.offsets_residual_eV_atom is not None:
        console.print(f'residual (root mean square): {1000 * report.offsets_residual_eV_atom:.1f} meV/atom')
    if report.n_replayed:
        left_out = f', left out because of large forces: {report.n_not_replayed}' if report.n_not_replayed else ''
        console.print(f'replayed: {counted(report.n_replayed, "structure")} of other chemical systems{left_out}')
    table = Table('set', 'frames', 'energy meV/atom', 'force eV/Å', 'stress GPa', box=None)
    for split, n_frames, energy, force, stress in errors_table(report):
        shown = [
            '' if after is None else f'{after:.3g}' if before is None else f'{before:.3g} → {after:.3g}'
            for before, after in (energy, force, stress)
        ]
        table.add_row(split, str(n_frames), *shown)
    console.print(table)
    console.print(f'best epoch: {report.best_epoch} of {len(report.epochs)}')
