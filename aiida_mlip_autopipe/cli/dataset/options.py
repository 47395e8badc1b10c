"""Arguments and options that several commands for datasets share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DatasetFile = Annotated[Path, typer.Argument(help='Dataset, an ASE database.', show_default=False)]
Force = Annotated[bool, typer.Option('--force', help='Overwrite existing files.')]
JsonOption = Annotated[bool, typer.Option('--json', help='Print JSON.')]
Select = Annotated[str, typer.Option(help='Only these rows, such as "kind=surface,label=hot,temperature>900,Cu>2".')]
