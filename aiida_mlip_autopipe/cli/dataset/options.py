"""Arguments and options that several commands for datasets share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DatasetFile = Annotated[Path, typer.Argument(help='Dataset, an ASE database.', show_default=False)]
Force = Annotated[bool, typer.Option('--force', help='Overwrite existing files.')]
JsonOption = Annotated[bool, typer.Option('--json', help='Print JSON.')]
Labels = Annotated[
    str | None,
    typer.Option(
        '--labels',
        help='The labels to write, if rows have several: dft, mlip, or the name or the hash of a level of theory; by '
        'default, the current labels.',
        show_default=False,
    ),
]
Select = Annotated[str, typer.Option(help='Only these rows, such as "kind=surface,label=hot,temperature>900,Cu>2".')]
