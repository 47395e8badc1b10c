"""``mlip-autopipe config``: write, check and show config files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[Path, typer.Argument(help='Config file.', show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help='Overrides, such as sampling.n_structures=500, generation[0].n_seeds=3 or +exploration=anneal (a preset).',
        show_default=False,
    ),
]

config_app = typer.Typer(help='Write, check and show config files.', no_args_is_help=True)


@config_app.command()
def init(
    file: Annotated[Path, typer.Argument(help='File to write.')] = Path('campaign.yaml'),
    force: Annotated[bool, typer.Option('--force', help='Overwrite an existing file.')] = False,
) -> None:
    """Write an example config with comments."""
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.config import starter_config
    from aiida_mlip_autopipe.core.atomic_write import atomic_write

    with atomic_write(file, overwrite=force) as unfinished:
        unfinished.write_text(starter_config(), encoding='utf-8')
    console.print(f'[green]✓[/] wrote [bold]{file}[/]; run it with `mlip-autopipe run {file}`')


@config_app.command()
def check(file: ConfigFile, overrides: Overrides = None) -> None:
    """Check a config file.

    Print all errors in the file or, if it has none, a summary of its campaign. The check stops after
    a few seconds and names the entries that were not checked completely.
    """
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.cli.description import describe_config
    from aiida_mlip_autopipe.config import ask_databases, load_config
    from aiida_mlip_autopipe.config.summary import summarise_config

    config = ask_databases(load_config(file, overrides or ()))
    summary = summarise_config(config)
    console.print(describe_config(config, summary))
    exception = '' if summary.is_complete else '; some entries were not checked completely'
    console.print(f'[green]✓[/] {file} is valid{exception}')


@config_app.command()
def schema() -> None:
    """Print the JSON schema of config files.

    Editors use it for completion and validation.
    """
    import json

    from aiida_mlip_autopipe.config import config_schema

    typer.echo(json.dumps(config_schema(), indent=2, ensure_ascii=False))


@config_app.command()
def show(file: ConfigFile, overrides: Overrides = None) -> None:
    """Print a config with its presets, overrides and defaults.

    The output is a config file.
    """
    from aiida_mlip_autopipe.config import config_text, load_config

    typer.echo(config_text(load_config(file, overrides or ())), nl=False)
