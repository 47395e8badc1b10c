"""``mlip-autopipe reproduce``: compute rows of a dataset again, and compare them bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiida_mlip_autopipe.campaigns.provenance.reproduction import Reproduction
    from aiida_mlip_autopipe.campaigns.provenance.rerun import Means


def reproduce(
    source: Annotated[
        str,
        typer.Argument(
            metavar='DATASET',
            help='Dataset: a file, the PK, UUID or name of a campaign, the PK or UUID of a dataset, or an archive '
            '(.aiida).',
            show_default=False,
        ),
    ],
    rows: Annotated[list[int] | None, typer.Argument(metavar='ROW', help='Ids of rows.', show_default=False)] = None,
    sample: Annotated[
        str | None,
        typer.Option('--sample', help='Rows to choose at random: a percentage such as 5%, or a number.'),
    ] = None,
    with_labels: Annotated[
        bool, typer.Option('--labels/--no-labels', help='Compute labels of a reference method, too.')
    ] = True,
    python: Annotated[
        str | None,
        typer.Option(
            help='Interpreter of an environment with the calculator; by default, that of the original job or, if that '
            'does not exist on this machine, the current one.',
            show_default=False,
        ),
    ] = None,
    code: Annotated[
        str | None, typer.Option(help='Code to use instead of an interpreter, such as autopipe-mace@localhost.')
    ] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(help='Model file, if it is neither stored nor on this machine; may be repeated.'),
    ] = None,
    as_json: Annotated[bool, typer.Option('--json', help='Print JSON.')] = False,
    profile: Annotated[str | None, typer.Option('--profile', '-p', help='AiiDA profile.')] = None,
) -> None:
    """Recompute rows from their seeds, and compare them with the dataset and the graph bit for bit.

    The jobs run on this machine, without AiiDA's engine, and nothing is stored. The exit code is 0 if all rows are
    identical and nothing was altered, otherwise 1.
    """
    from aiida_mlip_autopipe.cli.console import error_console, print_json
    from aiida_mlip_autopipe.cli.provenance.opening import opened, refuse_missing_dataset
    from aiida_mlip_autopipe.core.codes import Code
    from aiida_mlip_autopipe.core.errors import AutopipeError

    if bool(rows) == (sample is not None):
        chosen = Code.VALUES_EXCLUDE if rows else Code.VALUES_INCOMPLETE
        raise AutopipeError(chosen, 'use either the ids of rows or --sample, such as --sample 5%')
    if python is not None and code is not None:
        raise AutopipeError(Code.VALUES_EXCLUDE, '--python cannot be combined with --code')
    refuse_missing_dataset(source)
    with opened(source, profile) as identifier:
        from aiida_mlip_autopipe.campaigns.provenance.opened import is_archive
        from aiida_mlip_autopipe.campaigns.provenance.origin import open_dataset
        from aiida_mlip_autopipe.campaigns.provenance.reproduction import reproduce_rows, sample_rows

        dataset = open_dataset(identifier)
        means = _find_means(python, code, model or (), is_archive=is_archive(source))
        found: list[Reproduction] = []
        for one in reproduce_rows(
            dataset,
            rows or sample_rows(dataset, str(sample)),
            means,
            with_labels=with_labels,
            notify=lambda text: error_console.print(text, style='dim', markup=False),
        ):
            found.append(one)
            if not as_json:
                _print_row(one)
    n_identical = sum(one.is_identical for one in found)
    if as_json:
        print_json(sorted(found, key=lambda one: one.row))
    else:
        _print_summary(n_identical, len(found))
    if n_identical < len(found):
        raise typer.Exit(1)


def _find_means(python: str | None, code: str | None, models: Sequence[Path], *, is_archive: bool) -> Means:
    """Return what the jobs are run with.

    The codes of an archive are never run, since they contain shell commands of its author.

    Raises
    ------
    AutopipeError
        If a file or the code does not exist, or the code is in an archive.
    """
    import sys
    from shutil import which

    from aiida_mlip_autopipe.campaigns.provenance.rerun import Means
    from aiida_mlip_autopipe.core.codes import Code
    from aiida_mlip_autopipe.core.errors import AutopipeError

    for path in models:
        if not path.is_file():
            raise AutopipeError(Code.FILE_MISSING, f'the model file {path} does not exist')
    if code is not None:
        if is_archive:
            raise AutopipeError(Code.VALUES_EXCLUDE, '--code cannot be combined with an archive; use --python')
        from aiida_mlip_autopipe.installation.codes import is_local
        from aiida_mlip_autopipe.workflows.inputs.codes import load_code

        loaded = load_code(code, '--code')
        if not is_local(loaded):
            raise AutopipeError(Code.CODE_BROKEN, f'--code: {loaded.full_label} does not run on this machine')
        return Means(loaded, tuple(models))
    if python is None:
        return Means(sys.executable if is_archive else None, tuple(models))
    interpreter = which(python)
    if interpreter is None:
        raise AutopipeError(Code.FILE_MISSING, f'--python: the interpreter {python} does not exist')
    # An interpreter in a virtual environment is a link, which must not be resolved.
    return Means(str(Path(interpreter).absolute()), tuple(models))


def _print_row(one: Reproduction) -> None:
    from aiida_mlip_autopipe.cli.console import console

    is_altered = bool(one.altered)
    outcome = one.frame.describe(is_altered=is_altered)
    console.print(f'row {one.row} ({one.seed_id}, step {one.step}): {outcome}', markup=False)
    if one.label is not None:
        console.print(f'  label: {one.label.describe(is_altered=is_altered)}', markup=False)
    for text in one.altered:
        console.print(f'  altered: {text}', markup=False, style='red')
    for environment in dict.fromkeys(filter(None, [one.frame.environment, one.label and one.label.environment])):
        console.print(f'  computed with {environment}', markup=False, style='dim')


def _print_summary(n_identical: int, n_rows: int) -> None:
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.wording import counted

    mark = '[green]✓[/] ' if n_identical == n_rows else ''
    console.print(f'{mark}{n_identical} of {counted(n_rows, "row")} identical')
