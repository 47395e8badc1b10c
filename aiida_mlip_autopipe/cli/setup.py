"""``mlip-autopipe setup``: create the profile, the computer and the codes of this machine."""

from __future__ import annotations

from typing import Annotated

import typer


def setup(
    calculator: Annotated[
        list[str] | None,
        typer.Option(help='Calculator for which a code is created; can be repeated.', show_default=False),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(
            help='Python interpreter of the environment that contains the calculator; by default, the current one.'
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help='Model file for the self-test of a calculator that ships no model.')
    ] = None,
    profile: Annotated[str | None, typer.Option('--profile', '-p', help='AiiDA profile to use or to create.')] = None,
) -> None:
    """Create the profile, computer and codes for this machine.

    By default, each installed calculator gets an AiiDA code. Existing profiles, computers and codes are not changed.
    """
    import warnings

    # AiiDA warns that it creates the folder, which is what the user requested.
    warnings.filterwarnings('ignore', message='Creating AiiDA configuration folder')
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.installation.codes import describe_self_test
    from aiida_mlip_autopipe.installation.this_machine import set_up

    made = set_up(calculator, python, model, profile)
    _report('profile', made.profile, 'created (SQLite, ZeroMQ)' if made.profile_created else 'found')
    _report('computer', made.computer, 'created' if made.computer_created else 'found')
    for code in made.codes:
        _report('code', code.label, code.done)
        console.print(f'  {describe_self_test(code.report)}', style='dim')


def _report(item: str, name: str, done: str) -> None:
    from aiida_mlip_autopipe.cli.console import console

    console.print(f'[green]✓[/] {item:<8} {name}: {done}')
