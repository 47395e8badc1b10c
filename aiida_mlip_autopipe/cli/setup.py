"""``mlip-autopipe setup``: what this machine needs, made once."""

from __future__ import annotations

from typing import Annotated

import typer


def setup(
    calculator: Annotated[
        list[str] | None, typer.Option(help='Calculator to make a code for; repeat for several.', show_default=False)
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(help='Interpreter of the environment that has the calculator; by default this one.'),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help='Model file to try a calculator with that has no weights of its own.')
    ] = None,
    profile: Annotated[str | None, typer.Option('--profile', '-p', help='AiiDA profile to use or to make.')] = None,
) -> None:
    """Make an AiiDA profile, the computer localhost and a code for each calculator of this machine.

    Everything that exists already is left as it is, and other profiles are never touched.
    """
    import warnings

    # AiiDA warns of what the user has just asked for.
    warnings.filterwarnings('ignore', message='Creating AiiDA configuration folder')
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.installation.codes import describe_self_test
    from aiida_mlip_autopipe.installation.this_machine import set_up

    made = set_up(calculator, python, model, profile)
    _say('profile', made.profile, 'created (SQLite, ZeroMQ)' if made.profile_created else 'found')
    _say('computer', made.computer, 'created' if made.computer_created else 'found')
    for code in made.codes:
        _say('code', code.label, code.done)
        console.print(f'  {describe_self_test(code.report)}', style='dim')


def _say(what: str, name: str, done: str) -> None:
    from aiida_mlip_autopipe.cli.console import console

    console.print(f'[green]✓[/] {what:<8} {name}: {done}')
