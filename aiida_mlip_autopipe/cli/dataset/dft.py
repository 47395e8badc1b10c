"""Write inputs of DFT codes, and read labels from their results."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from aiida_mlip_autopipe.cli.dataset.options import DatasetFile, Force, Select


class IsolatedAtoms(StrEnum):
    """What happens to isolated atoms."""

    ADD = 'add'
    OMIT = 'omit'
    ONLY = 'only'


def dft_inputs(
    file: DatasetFile,
    output: Annotated[Path, typer.Option('--output', '-o', help='New folder to write, with a subfolder for each row.')],
    settings: Annotated[
        Path,
        typer.Option('--settings', help='YAML file with the DFT code, the level of theory and parameters.'),
    ],
    select: Select = '',
    isolated_atoms: Annotated[
        IsolatedAtoms,
        typer.Option(
            help='Isolated atoms, whose energies trainers need: add one of each element, omit them, or write only them.'
        ),
    ] = IsolatedAtoms.ADD,
) -> None:
    """Write the inputs of a DFT code for the rows of a dataset.

    Run the code yourself, then read the labels with `label-from`.
    """
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.core.yaml_file import read_yaml_file
    from aiida_mlip_autopipe.storage import Dataset
    from aiida_mlip_autopipe.storage.dft import write_dft_inputs
    from aiida_mlip_autopipe.storage.dft.inputs import make_code

    code = make_code(read_yaml_file(settings), str(settings))
    with Dataset(file) as dataset:
        folders = write_dft_inputs(output, list(dataset.query(select)), code, isolated_atoms=isolated_atoms.value)
    n_atoms = sum(folder.name.startswith('isolated_') for folder in folders)
    console.print(
        f'[green]✓[/] {code.settings.code} inputs for {counted(len(folders) - n_atoms, "row")} and '
        f'{counted(n_atoms, "isolated atom")} in [bold]{output}[/]'
    )
    console.print(
        f"run the code in each folder so that it writes {code.output}; then run 'mlip-autopipe dataset label-from'"
    )


def label_from(
    folder: Annotated[Path, typer.Argument(help='Folder of the DFT calculations.', show_default=False)],
    file: DatasetFile,
    output: Annotated[Path, typer.Option('--output', '-o', help='File to write. Its suffix determines the format.')],
    skip_failed: Annotated[
        bool, typer.Option('--skip-failed', help='Leave out rows without a valid calculation, and report them.')
    ] = False,
    no_provenance: Annotated[
        bool,
        typer.Option('--no-provenance', help='Do not record in AiiDA which files the labels were read from.'),
    ] = False,
    force: Force = False,
    profile: Annotated[str | None, typer.Option('--profile', '-p', help='AiiDA profile.')] = None,
) -> None:
    """Write a dataset with labels from DFT calculations.

    The inputs of the calculations must be those that `dft-inputs` wrote. If an AiiDA profile exists, the files that are
    read and the labelled dataset are stored in it.
    """
    from aiida_mlip_autopipe.campaigns.labelling.files import label_from_files
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.cli.dataset.remarks import print_remarks
    from aiida_mlip_autopipe.cli.faults import with_codes
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.installation.profile import open_profile_if_any
    from aiida_mlip_autopipe.storage.dataset import refuse_missing
    from aiida_mlip_autopipe.storage.dft.faults import summarise_faults

    refuse_missing(file)
    opened = None if no_provenance else open_profile_if_any(profile)
    labelled = label_from_files(
        folder, file, output, store=opened is not None, skip_failed=skip_failed, overwrite=force
    )
    for fault in summarise_faults(labelled.faults):
        console.print(f'left out: {with_codes(fault)}', style='yellow', markup=False)
    for warning in labelled.warnings:
        console.print(f'warning: {warning}', style='yellow', markup=False)
    print_remarks(labelled.remarks)
    console.print(f'[green]✓[/] {counted(labelled.n_rows, "row")} in [bold]{output}[/]')
    if labelled.node is not None and opened is not None:
        console.print(f'stored in the profile {opened.name} as node {labelled.node.pk}', markup=False)
    elif not no_provenance:
        console.print(
            "no provenance was stored, because no AiiDA profile exists; create one with 'mlip-autopipe setup'",
            style='yellow',
        )
