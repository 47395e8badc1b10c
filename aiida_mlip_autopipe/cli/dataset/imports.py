"""Import files from other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiida_mlip_autopipe.cli.dataset.options import Force

if TYPE_CHECKING:
    from aiida_mlip_autopipe.storage.imports.import_dataset import ImportedDataset
    from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory


class ImportGroup(StrEnum):
    """What determines the groups of imported rows."""

    COMPOSITION = 'composition'
    FILE = 'file'


class EnergyUnit(StrEnum):
    """Units of energies."""

    EV = 'eV'
    EV_PER_ATOM = 'eV/atom'


class StressUnit(StrEnum):
    """Units of stresses."""

    EV_A3 = 'eV/A3'
    GPA = 'GPa'
    KBAR = 'kbar'


class StressSign(StrEnum):
    """The load under which a stress is positive."""

    TENSION = 'tension'
    COMPRESSION = 'compression'


def import_files(
    files: Annotated[
        list[Path],
        typer.Argument(
            help='ASE databases, ASE trajectories, extended XYZ, vasprun.xml, OUTCAR, outputs of pw.x, or folders.',
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option('--output', '-o', help='File to write. Its suffix determines the format.')],
    level: Annotated[
        str | None,
        typer.Option(
            help='Level of theory of the labels: a YAML file, a mapping such as "{method: dft, code: vasp, functional: '
            'pbe}", a name such as dft:vasp:pbe, or a dataset (.db) with this level. VASP and pw.x outputs contain it.',
            show_default=False,
        ),
    ] = None,
    group_by: Annotated[
        ImportGroup, typer.Option(help='Which structures form a group. No group is divided between sets.')
    ] = ImportGroup.COMPOSITION,
    energy_key: Annotated[str | None, typer.Option(help='Key of the energy, if it is not recognised.')] = None,
    forces_key: Annotated[str | None, typer.Option(help='Key of the forces, if it is not recognised.')] = None,
    stress_key: Annotated[str | None, typer.Option(help='Key of the stress, if it is not recognised.')] = None,
    virial_key: Annotated[
        str | None, typer.Option(help='Key of the virial (eV; minus stress times volume), if it is not recognised.')
    ] = None,
    energy_unit: Annotated[
        EnergyUnit | None, typer.Option(help='Unit of the energy; eV by default.', show_default=False)
    ] = None,
    stress_unit: Annotated[
        StressUnit | None, typer.Option(help='Unit of the stress; eV/A3 by default.', show_default=False)
    ] = None,
    stress_sign: Annotated[
        StressSign | None,
        typer.Option(help='Load under which the stress is positive: tension (ASE, the default) or compression (VASP).'),
    ] = None,
    skip_invalid: Annotated[
        bool, typer.Option('--skip-invalid', help='Leave out frames without valid labels, and report them.')
    ] = False,
    force: Force = False,
) -> None:
    """Import labelled structures from other programs as a dataset.

    The rows can be merged, split, summarised in reports and exported like those of a campaign.
    """
    from aiida_mlip_autopipe.storage.imports.import_dataset import import_dataset
    from aiida_mlip_autopipe.storage.imports.keys import LabelKeys

    keys = LabelKeys(
        energy_key=energy_key,
        forces_key=forces_key,
        stress_key=stress_key,
        virial_key=virial_key,
        energy_unit=energy_unit and energy_unit.value,
        stress_unit=stress_unit and stress_unit.value,
        stress_sign=stress_sign and stress_sign.value,
    )
    result = import_dataset(
        files,
        output,
        None if level is None else _read_level(level),
        keys=keys,
        group_by=group_by.value,
        skip_invalid=skip_invalid,
        overwrite=force,
    )
    _show(result, output)


def _read_level(text: str) -> dict[str, Any] | LevelOfTheory:
    """Return the level that ``--level`` gives."""
    from aiida_mlip_autopipe.storage.imports.levels import level_from_name, level_of_dataset

    path = Path(text)
    if path.suffix == '.db':
        return level_of_dataset(path)
    from aiida_mlip_autopipe.core.yaml_file import read_yaml_file, read_yaml_text

    if text.lstrip().startswith('{'):
        return read_yaml_text(text, '--level')
    if path.suffix in ('.yaml', '.yml') or path.is_file():
        return read_yaml_file(path)
    return level_from_name(text)


def _show(result: ImportedDataset, output: Path) -> None:
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.cli.dataset.remarks import print_remarks
    from aiida_mlip_autopipe.cli.faults import with_codes
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.storage.imports.import_dataset import shorten

    def note(text: str, style: str | None = None) -> None:
        console.print(text, style=style, markup=False, highlight=False)

    for fault in shorten(result.faults):
        note(f'left out: {with_codes(fault)}', 'yellow')
    for file in result.files:
        keys = ', '.join(f'{name} from {key}' for name, key in file.keys.items())
        restored = f'; {counted(file.n_restored, "row")} of this program restored' if file.n_restored else ''
        note(f'{file.path} ({file.format}): {counted(file.n_frames, "frame")}; {keys or "no labels"}{restored}')
    for path in result.replaced:
        note(f'not read: {path}, because the folder contains vasprun.xml')
    if result.n_copies:
        note(f'left out: {counted(result.n_copies, "duplicate")} of earlier frames')
    for first, second in result.conflicts[:10]:
        note(f'{first} and {second} have the same structure and different labels', 'yellow')
    if len(result.conflicts) > 10:
        more = counted(len(result.conflicts) - 10, 'more pair')
        note(f'{more} of frames with the same structure and different labels', 'yellow')
    if result.without_stress:
        note(f'without stress: {counted(result.without_stress, "periodic row")}', 'yellow')
    if result.n_groups_joined:
        note(f'{counted(result.n_groups_joined, "group")} joined with groups that have the same structures')
    for warning in result.warnings:
        note(warning, 'yellow')
    if result.isolated_atoms:
        energies = ', '.join(f'{symbol} {energy:g} eV' for symbol, energy in result.isolated_atoms.items())
        note(f'isolated atoms: {energies}')
    for title, counts in (('kept in the data of the rows', result.kept), ('not kept', result.dropped)):
        if counts:
            note(f'{title}: ' + ', '.join(f'{name} ({number})' for name, number in sorted(counts.items())))
    print_remarks(result.remarks)
    note(f'level of theory: {result.level.name}, {result.level.hash}')
    console.print(
        f'[green]✓[/] {counted(result.n_rows, "row")} from {counted(result.n_groups, "group")} in [bold]{output}[/]'
    )
