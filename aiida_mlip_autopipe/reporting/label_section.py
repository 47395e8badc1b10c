"""The sections of the report card about labels at two levels of theory, and about the cost of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.reporting.tables import render_table

GROUPS = {'by_kind': 'kind {}', 'by_temperature_K': 'temperature {} K', 'by_force_eV_A': 'force {} eV/Å'}
"""Titles of the groups of errors."""
WORST = {'largest_energy_errors': 'Largest errors of energies', 'largest_force_errors': 'Largest errors of forces'}


def render_label_errors(errors: Mapping[str, Any], n_rows: int) -> list[str]:
    """Return the HTML of the errors from `describe_errors`.

    Parameters
    ----------
    errors
        The errors.
    n_rows
        Number of rows of the dataset.
    """
    n_compared = errors['all']['n_structures']
    parts = [
        f'<h2>Errors of {escape(errors["compared"])}</h2>',
        f'<p>Reference: {escape(errors["reference"])}. Both labels are known for {n_compared} of '
        f'{counted(n_rows, "row")}. Energies of different levels have different reference points, so an offset per '
        'element was removed from the differences by a robust fit (the smallest sum of absolute deviations). Errors of '
        'forces and stresses are computed per component. The last rows of the table group the atoms by the magnitude '
        'of the reference force.</p>',
        _table_of_errors(errors),
    ]
    for name, title in WORST.items():
        parts += [f'<h3>{title}</h3>', _table_of_structures(errors[name])]
    return parts


def render_cost(cost: Mapping[str, float]) -> str:
    """Return the HTML of the cost from `measure_cost`."""
    n_repeated = round(cost['n_repeated'])
    return (
        f'<p>The labels of {counted(round(cost["n_rows"]), "row")} took {cost["core_h"]:.3g} core hours, with a '
        f'median of {cost["median_core_s"]:.3g} and a maximum of {cost["max_core_s"]:.3g} core seconds. '
        f'{counted(n_repeated, "label")} needed several attempts.</p>'
    )


def _table_of_errors(errors: Mapping[str, Any]) -> str:
    head = ['', 'structures', 'atoms', 'energy\nMAE\nmeV/atom', 'energy\nRMSE\nmeV/atom']
    head += ['force\nMAE\nmeV/Å', 'force\nRMSE\nmeV/Å', 'stress\nRMSE\nGPa']
    groups = {title.format(name): one for key, title in GROUPS.items() for name, one in errors[key].items()}
    lines = {title: _errors_of_group(one) for title, one in {'all': errors['all'], **groups}.items()}
    return render_table(head, lines)


def _errors_of_group(one: Mapping[str, Any]) -> list[float | str]:
    energies = (one['energy_mae_eV_per_atom'], one['energy_rmse_eV_per_atom'])
    forces = (one['force_mae_eV_A'], one['force_rmse_eV_A'])
    errors = [None if value is None else 1000 * value for value in (*energies, *forces)]
    return [one['n_structures'], one['n_atoms'], *map(_shown, (*errors, one['stress_rmse_GPa']))]


def _table_of_structures(structures: Sequence[Mapping[str, Any]]) -> str:
    head = ['row', 'formula', 'kind', 'temperature\nK', 'energy error\nmeV/atom', 'largest force error\neV/Å']
    lines: dict[str, list[float | str]] = {
        str(one['row']): [
            one['formula'],
            one['kind'] or '',
            '' if one['temperature_K'] is None else f'{one["temperature_K"]:.0f}',
            f'{1000 * one["energy_error_eV_per_atom"]:+.4g}',
            one['max_force_error_eV_A'],
        ]
        for one in structures
    }
    return render_table(head, lines)


def _shown(value: float | None) -> float | str:
    return '' if value is None else value
