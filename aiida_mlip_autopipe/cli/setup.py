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
    import sys
    import warnings

    # AiiDA warns of what the user has just asked for.
    warnings.filterwarnings('ignore', message='Creating AiiDA configuration folder')
    from aiida_mlip_autopipe.calculators import installed_calculators
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.installation.codes import (
        describe_self_test,
        ensure_code,
        ensure_computer,
        keep_self_test,
        run_self_test,
        self_test_settings,
    )
    from aiida_mlip_autopipe.installation.profile import ensure_profile

    kinds = calculator or installed_calculators()
    python = python or sys.executable
    reports = {kind: run_self_test(kind, python, model) for kind in kinds}

    loaded, created = ensure_profile(profile)
    _say('profile', loaded.name, 'created (SQLite, ZeroMQ)' if created else 'found')
    computer, created = ensure_computer()
    _say('computer', computer.label, 'created' if created else 'found')
    for kind, report in reports.items():
        code, done = ensure_code(computer, kind, python)
        keep_self_test(code, self_test_settings(kind, model), report)
        _say('code', code.full_label, done)
        console.print(f'  {describe_self_test(report)}', style='dim')


def _say(what: str, name: str, done: str) -> None:
    from aiida_mlip_autopipe.cli.console import console

    console.print(f'[green]✓[/] {what:<8} {name}: {done}')
