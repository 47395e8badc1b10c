"""Check the metadata for publishing a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aiida_mlip_autopipe.cli.dataset.options import DatasetFile, Force


def publish(
    file: DatasetFile,
    check: Annotated[
        bool, typer.Option('--check', help='List the missing metadata. The exit status is 1 if any are missing.')
    ] = False,
    metadata: Annotated[
        Path | None, typer.Option('--metadata', help='YAML file with the title, the authors and other fields.')
    ] = None,
    output: Annotated[
        Path | None, typer.Option('--output', '-o', help='Write the complete metadata to this JSON file.')
    ] = None,
    force: Force = False,
) -> None:
    """Check the metadata that ColabFit, OPTIMADE and data repositories ask for.

    Nothing is uploaded.
    """
    import json

    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.atomic_write import atomic_write, refuse_existing
    from aiida_mlip_autopipe.core.codes import Code
    from aiida_mlip_autopipe.core.errors import AutopipeError
    from aiida_mlip_autopipe.core.yaml_file import read_yaml_file
    from aiida_mlip_autopipe.reporting.publication import check_publication
    from aiida_mlip_autopipe.storage import Dataset

    if not check and output is None:
        raise AutopipeError(Code.VALUES_INCOMPLETE, 'nothing is uploaded; use --check, or --output to write a file')
    if output is not None:
        if output.suffix != '.json':
            raise AutopipeError(Code.FILE_SUFFIX, f'the metadata file must end in .json; got {output}')
        refuse_existing(output, force)
    fields = read_yaml_file(metadata) if metadata else {}
    with Dataset(file) as dataset:
        found = check_publication(list(dataset.query()), fields, str(metadata))
    for problem in found.problems:
        console.print(problem, style='yellow', markup=False)
    for field in found.missing:
        console.print(f'missing: {field.name} ({field.asked_by}), such as', style='yellow', markup=False)
        console.print(f'  {field.example}', markup=False, soft_wrap=True)
    console.print(f'checksum of the content: {found.metadata["checksum"]}', markup=False, soft_wrap=True)
    if not found.is_complete:
        raise typer.Exit(1)
    console.print('[green]✓[/] the metadata are complete')
    if output is not None:
        with atomic_write(output, overwrite=force) as unfinished:
            text = json.dumps(found.metadata, indent=2, ensure_ascii=False, allow_nan=False)
            unfinished.write_text(text + '\n', encoding='utf-8')
        console.print(f'[green]✓[/] metadata in [bold]{output}[/]')
