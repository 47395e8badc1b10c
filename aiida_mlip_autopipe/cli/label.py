"""``mlip-autopipe label``: label the structures of a dataset with a reference method."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiida_mlip_autopipe.config.labelling import LabellingConfig
    from aiida_mlip_autopipe.labelling.convergence import Converged

label_app = typer.Typer(help='Label the structures of a dataset with a reference method.', no_args_is_help=True)


@label_app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar='DATASET', help='Dataset to label.', show_default=False)],
    settings: Annotated[
        Path, typer.Option('--settings', help='YAML file with the section labelling and, if necessary, execution.')
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help='Overrides, such as labelling.time_limit_s=600.', show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option('--output', '-o', help='Database to write; required except with --dry-run.', show_default=False),
    ] = None,
    detach: Annotated[bool, typer.Option('--detach', '-d', help='Submit the labelling run and exit.')] = False,
    dry_run: Annotated[bool, typer.Option('--dry-run', help='Print the plan without starting anything.')] = False,
    force: Annotated[bool, typer.Option('--force', help='Overwrite an existing database.')] = False,
    retry_failed: Annotated[
        bool, typer.Option('--retry-failed', help='Recompute structures that failed in an earlier run.')
    ] = False,
    profile: Annotated[str | None, typer.Option('--profile', '-p', help='AiiDA profile.')] = None,
) -> None:
    """Label the structures of a dataset and write a dataset with the previous and the new labels.

    Structures that have a label at the same level of theory in the profile are not computed again, and neither are
    those whose calculation did not converge or raised an error. The progress is shown until the run ends. Ctrl-C does
    not stop it.
    """
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.config.labelling import load_labelling
    from aiida_mlip_autopipe.core.atomic_write import refuse_existing
    from aiida_mlip_autopipe.core.codes import Code
    from aiida_mlip_autopipe.core.errors import AutopipeError
    from aiida_mlip_autopipe.storage.dataset import check_dataset_file

    chosen = ['labelling.retry_failed=true'] if retry_failed else []
    config = load_labelling(settings, [*(overrides or ()), *chosen])
    check_dataset_file(file)
    if dry_run:
        _show_plan(config, file, profile)
        return
    if output is None:
        raise AutopipeError(Code.VALUES_INCOMPLETE, 'use --output FILE for the labelled dataset, or --dry-run')
    if not detach:
        refuse_existing(output, force)

    from aiida_mlip_autopipe.campaigns.export import write_dataset
    from aiida_mlip_autopipe.campaigns.labelling.runs import read_report, submit_labelling
    from aiida_mlip_autopipe.campaigns.submission import Submitted
    from aiida_mlip_autopipe.cli.follow import follow_campaign, outliving_ctrl_c
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.installation.profile import open_profile
    from aiida_mlip_autopipe.workflows.graph import load_campaign

    open_profile(profile)
    with outliving_ctrl_c() as submitted_as:

        def announce(submitted: Submitted) -> None:
            submitted_as(submitted.pk)
            console.print(f'labelling run [bold]{submitted.name}[/] submitted, id {submitted.pk}')

        submitted = submit_labelling(config, file, output, console.print, announce)
        if detach:
            console.print(
                f"show its progress with 'mlip-autopipe status {submitted.pk}'; when it has finished, write the "
                f"labelled dataset with 'mlip-autopipe export {submitted.pk} -o {output}'"
            )
            return
        node = load_campaign(submitted.uuid)
        follow_campaign(node)
        n_rows = write_dataset(node, output, force=force)
    console.print(f'[green]✓[/] {counted(n_rows, "structure")} in [bold]{output}[/]')
    report = read_report(node)
    if report['n_failed_before']:
        failed = counted(report['n_failed_before'], 'structure')
        console.print(f'{failed} failed in earlier runs; use --retry-failed to try again', style='yellow')
    if report['suspicious']:
        n_kept = sum(one['kept'] for one in report['suspicious'])
        n_repeated = sum(bool(one['repeated']) for one in report['suspicious'])
        console.print(
            f'suspicious labels: {len(report["suspicious"])} (recomputed: {n_repeated}, kept: {n_kept})',
            style='yellow',
        )


@label_app.command()
def converge(
    file: Annotated[Path, typer.Argument(metavar='DATASET', help='Dataset with the structures.', show_default=False)],
    settings: Annotated[
        Path, typer.Option('--settings', help='YAML file with the section labelling and, if necessary, execution.')
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help='Overrides, such as labelling.functional=PBEsol.', show_default=False)
    ] = None,
    force_error: Annotated[
        float, typer.Option('--force-error', min=1e-6, help='Target error of force components in eV/Å.')
    ] = 0.02,
    energy_error: Annotated[
        float, typer.Option('--energy-error', min=1e-6, help='Target error of relative energies in eV/atom.')
    ] = 0.002,
    n_structures: Annotated[int, typer.Option('--structures', min=1, help='Number of structures to compute.')] = 3,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            '--vary',
            help='Setting and its values from the cheapest to the most expensive one, such as '
            'plane_wave_cutoff_eV=300,400,600,800; may be repeated. By default, the cutoff and the k-points.',
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option('--dry-run', help='Print the cost without computing anything.')] = False,
    profile: Annotated[str | None, typer.Option('--profile', '-p', help='AiiDA profile.')] = None,
) -> None:
    """Recommend the cutoff and k-points for a target error, from a few structures of a dataset.

    Different structures of the dataset are computed on this machine with increasing values of each setting. The errors
    are the differences from the results with the most expensive value.
    """
    from aiida_mlip_autopipe.campaigns.labelling.convergence import plan_convergence, run_convergence
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.cli.description import core_time
    from aiida_mlip_autopipe.config.labelling import load_labelling
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.installation.profile import open_profile
    from aiida_mlip_autopipe.labelling.convergence import parse_series

    config = load_labelling(settings, overrides or ())
    series = [parse_series(text) for text in vary or ()]
    plan = plan_convergence(config.labelling, file, series, n_structures=n_structures)
    chosen = ', '.join(f'row {row} ({atoms.symbols})' for row, atoms in zip(plan.rows, plan.structures, strict=True))
    console.print(f'structures: {chosen}, and an expanded copy of each', markup=False)
    cost = 'unknown' if plan.core_s is None else core_time(plan.core_s)
    console.print(f'{counted(plan.n_calculations, "calculation")}, predicted cost: {cost}')
    if dry_run:
        console.print('nothing was started', style='dim')
        return
    open_profile(profile)
    results = run_convergence(
        plan,
        force_error_eV_A=force_error,
        energy_error_eV=energy_error,
        notify=lambda text: console.print(text, style='dim', markup=False),
    )
    _show_converged(results, config.labelling.kind)


def _show_plan(config: LabellingConfig, file: Path, profile: str | None) -> None:
    from rich.table import Table

    from aiida_mlip_autopipe.campaigns.labelling.runs import plan_labelling
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.cli.description import describe_cost
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.installation.profile import open_profile

    open_profile(profile)
    plan = plan_labelling(config, file)
    table = Table(show_header=False, box=None)
    table.add_row('level of theory', f'{plan.level.name} ({plan.level.hash})')
    table.add_row('code', f'{plan.code}, {counted(plan.concurrent_jobs, "concurrent job")}')
    dropped = ''.join(f', {n} left out ({rule})' for rule, n in plan.n_dropped_by_rule.items())
    table.add_row('rows', f'{plan.n_rows}{dropped}')
    failed = f', and {plan.n_failed_before} failed in earlier runs (use --retry-failed)' if plan.n_failed_before else ''
    table.add_row('structures', f'{plan.n_structures}, {plan.n_known} of them already labelled{failed}')
    table.add_row('jobs', str(plan.n_jobs))
    table.add_row('cost', describe_cost(plan.cost))
    console.print(table)
    for warning in plan.warnings:
        console.print(warning, style='yellow', markup=False)
    console.print('nothing was started', style='dim')


def _show_converged(results: Sequence[Converged], kind: str) -> None:
    """Print a table for each setting, and the lines of the config with the recommended values."""
    import yaml
    from rich.table import Table

    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.labelling.convergence import recommended_settings

    for one in results:
        table = Table(one.series.name, 'force eV/Å', 'energy eV/atom', 'stress GPa', 'time s', box=None)
        for point in one.points:
            mark = ' ←' if point.value == one.recommended else ''
            stress = '' if point.stress_error_GPa is None else f'{point.stress_error_GPa:.2g}'
            errors = [f'{point.force_error_eV_A:.2g}', f'{point.energy_error_eV:.2g}', stress]
            table.add_row(f'{point.value:g}{mark}', *errors, f'{point.seconds:.1f}')
        console.print(table)
        for index, reason in one.failed.items():
            console.print(f'structure {index} was left out: {reason}', style='yellow', markup=False)
        if one.points[0].force_error_eV_A == one.points[0].energy_error_eV == 0:
            console.print(f'{one.series.name}: all values gave the same results', style='yellow', markup=False)
        if one.recommended is None:
            console.print(
                f'{one.series.name}: no value is known to be accurate enough; use values beyond '
                f'{one.series.values[-1]:g}',
                style='yellow',
                markup=False,
            )
    if settings := recommended_settings(results):
        console.print(yaml.safe_dump({'labelling': {'kind': kind} | settings}, sort_keys=False), markup=False)
