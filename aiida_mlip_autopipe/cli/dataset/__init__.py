"""``mlip-autopipe dataset``: commands for datasets, which do not need AiiDA."""

from __future__ import annotations

import typer

from aiida_mlip_autopipe.cli.dataset.describe import diff, info, report
from aiida_mlip_autopipe.cli.dataset.dft import dft_inputs, label_from
from aiida_mlip_autopipe.cli.dataset.files import convert, merge
from aiida_mlip_autopipe.cli.dataset.imports import import_files
from aiida_mlip_autopipe.cli.dataset.publish import publish
from aiida_mlip_autopipe.cli.dataset.sets import split

dataset_app = typer.Typer(help='Describe, import, split, merge, convert and compare datasets.', no_args_is_help=True)
for command in (info, report, split, merge, convert, diff, publish):
    dataset_app.command()(command)
dataset_app.command('import')(import_files)
dataset_app.command('dft-inputs')(dft_inputs)
dataset_app.command('label-from')(label_from)
