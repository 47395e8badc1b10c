"""The section of the report card about the rounds of a campaign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.reporting.figures import CHOSEN, OTHER, make_figure
from aiida_mlip_autopipe.reporting.tables import render_table

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

QUANTITIES = {
    'force_eV_A': ('force', 'eV/Å', 1.0),
    'stress_GPa': ('stress', 'GPa', 1.0),
    'energy_eV_atom': ('energy', 'meV/atom', 1000.0),
}
"""Name, unit on the card, and factor of each error."""
UNKNOWN = '–'


def render_rounds(rounds: Mapping[str, Any]) -> list[str]:
    """Return the HTML of the content of `read_rounds_report` in `campaigns.rounds`."""
    finished = rounds['rounds']
    if not finished:
        return ['<h2>Rounds</h2>', '<p>No round has finished.</p>']
    last = finished[-1]
    reason = last['decision']['reason']
    title = f'Reason for the end ({reason.replace("_", " ")})' if reason else 'Last decision'
    return [
        '<h2>Rounds</h2>',
        f'<p>{counted(len(finished), "round")} of at most {rounds["maximum"]}, {_count_labels(rounds)}. '
        f'{escape(title)}: {escape(last["decision"]["message"])}.</p>',
        *_suggestions(rounds['suggestions']),
        '<h3>Errors on the test set</h3>',
        '<p>Root mean square errors, with their upper limits with a confidence of 90 %.</p>',
        _table_of_errors(rounds),
        *_kinds(rounds['errors_by_kind']),
        '<h3>New models</h3>',
        '<p>The gain is the relative decrease of the force error, compared with the previous model on the same '
        'frames. The column of hot runs contains those that survived with the new and with the previous model.</p>',
        _table_of_models(finished),
        *_refusals(finished),
        '<h3>Error bounds</h3>',
        '<p>At least 90 % of the errors should be below their bounds. The coverage is the fraction of the random '
        'frames of this round whose errors are below the bounds of the previous round.</p>',
        _table_of_bounds(finished),
        *_estimate(finished, rounds['targets']['force_eV_A']),
        '<h3>Training runs</h3>',
        _table_of_trainings(finished),
        '<p>The selection of each round has its own report card: '
        + ', '.join(f'<code>mlip-autopipe report {one["pk"]}</code> (round {one["round"]})' for one in finished)
        + '.</p>',
    ]


def draw_rounds(rounds: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw the force error of each round, and the learning curves of its candidate."""
    finished = rounds['rounds']
    known = [one for one in finished if one['errors']['force_error']['value'] is not None]
    drawn = {}
    if known:
        drawn['Force error'] = _draw_errors(known, rounds['targets']['force_eV_A'])
    curves = [
        _curve(f'round {one["round"]}', epochs, [epoch['epoch'] for epoch in epochs], 'valid_force_rmse_eV_A')
        for one in finished
        if (epochs := one['trainings'].get(one['candidate'], {}).get('epochs'))
    ]
    if curves:
        title = 'force error on the validation set, eV/Å'
        drawn['Training'] = make_figure(curves, 'epoch', title, showlegend=True)
    return drawn


def _curve(name: str, points: Sequence[Mapping[str, Any]], x: Sequence[float], key: str) -> dict[str, Any]:
    values = [one[key] for one in points]
    return {'type': 'scatter', 'mode': 'lines+markers', 'name': name, 'x': list(x), 'y': values}


def _draw_errors(rounds: Sequence[Mapping[str, Any]], target: float) -> Figure:
    """Draw the force error and its upper limit as functions of the number of labels, with the target."""
    numbers = [one['n_labels'] for one in rounds]
    errors = [one['errors']['force_error'] for one in rounds]
    starting = (rounds[0]['judgement'] or {}).get('errors', {}).get('former', {}).get('force_eV_A')
    # The starting model is assessed in the first round.
    if starting is not None and rounds[0]['round'] == 1 and starting['value'] is not None:
        numbers, errors = [0, *numbers], [starting, *errors]
    lines = [
        {
            'type': 'scatter',
            'mode': 'lines+markers',
            'name': name,
            'x': numbers,
            'y': [one[key] for one in errors],
            'line': {'color': color, 'dash': dash},
        }
        for name, key, color, dash in (
            ('error', 'value', CHOSEN, 'solid'),
            ('upper limit (90 %)', 'upper_limit', OTHER, 'dot'),
        )
    ]
    ends = [0, max(numbers)]
    level = {'type': 'scatter', 'mode': 'lines', 'name': 'target', 'x': ends, 'y': [target, target]}
    lines.append(level | {'line': {'color': '#0f766e', 'dash': 'dash'}})
    figure = make_figure(lines, 'number of labels', 'force error on the test set, eV/Å', showlegend=True)
    figure.update_yaxes(rangemode='tozero')
    return figure


def _count_labels(rounds: Mapping[str, Any]) -> str:
    budget = '' if rounds['label_budget'] is None else f' (budget: {rounds["label_budget"]})'
    return counted(rounds['rounds'][-1]['n_labels'], 'label') + budget


def _suggestions(found: Sequence[Mapping[str, str]]) -> list[str]:
    if not found:
        return []
    items = ''.join(f'<li>{escape(one["message"])}</li>' for one in found)
    return ['<h3>Suggestions</h3>', f'<ul>{items}</ul>']


def _table_of_errors(rounds: Mapping[str, Any]) -> str:
    targets = rounds['targets']
    head = ['', 'labels', 'training\nlabels']
    for name, (what, unit, _) in QUANTITIES.items():
        head += [f'{what}\n{unit}', 'upper\nlimit'] + (['target'] if name in targets else [])
    lines: dict[str, list[float | str]] = {}
    first = rounds['rounds'][0]
    if first['judgement'] is not None:
        lines['starting model'] = [0, 0, *_errors(first['judgement']['errors']['former'], targets)]
    for one in rounds['rounds']:
        found = {'force_eV_A': one['errors']['force_error'], **(one['errors']['further_errors'] or {})}
        lines[f'round {one["round"]}'] = [one['n_labels'], _n_trained(one), *_errors(found, targets)]
    return render_table(head, lines)


def _errors(found: Mapping[str, Mapping[str, float | None]], targets: Mapping[str, float]) -> list[float | str]:
    cells: list[float | str] = []
    for name, (_, _, factor) in QUANTITIES.items():
        one = found.get(name, {})
        cells += [_scaled(one.get(key), factor) for key in ('value', 'upper_limit')]
        cells += [_scaled(targets[name], factor)] if name in targets else []
    return cells


def _n_trained(one: Mapping[str, Any]) -> int | str:
    """Return the number of labels for training and validation of the candidate."""
    training = one['trainings'].get(one['candidate'])
    return UNKNOWN if training is None else training['n_frames']['train'] + training['n_frames']['valid']


def _kinds(errors: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not errors:
        return []
    head = ['kind of seed', 'force error\neV/Å', 'groups']
    return [render_table(head, {kind: [one['force_error_eV_A'], one['n_groups']] for kind, one in errors.items()})]


def _table_of_models(rounds: Sequence[Mapping[str, Any]]) -> str:
    lines: dict[str, list[float | str]] = {}
    for one in rounds:
        judged, title = one['judgement'], f'round {one["round"]}'
        if judged is None:
            lines[title] = ['no new model', *[UNKNOWN] * 4]
            continue
        lines[title] = [
            'used' if judged['accepted'] else 'refused',
            _percent(judged['gain']['value']),
            f'{judged["n_survived"]} and {judged["n_survived_before"]} of {judged["n_hot_runs"]}',
            len(judged['holes']),
            _scaled(judged['drift_eV_A']),
        ]
    return render_table(['', 'new model', 'gain', 'hot runs', 'new\nholes', 'drift\neV/Å'], lines)


def _refusals(rounds: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return why models were refused, and what failed."""
    found = []
    for one in rounds:
        failures = one['judgement']['failures'] if one['judgement'] else []
        found += [f'round {one["round"]}: the new model was refused: {unmet["message"]}' for unmet in failures]
        found += [f'round {one["round"]}: {name} failed: {reason}' for name, reason in one['failures'].items()]
    items = ''.join(f'<li>{escape(text)}</li>' for text in found)
    return [f'<ul class="warning">{items}</ul>'] if found else []


def _table_of_bounds(rounds: Sequence[Mapping[str, Any]]) -> str:
    head = ['', 'calibration\nframes', 'groups', 'frames bounded\nbelow twice\nthe target']
    head += [f'coverage\n{name}' for name, _, _ in QUANTITIES.values()]
    lines: dict[str, list[float | str]] = {}
    for one in rounds:
        bounds, coverage = one['bounds'], one['coverage'] or {}
        force = None if bounds is None else bounds['bounds']['force_eV_A']
        infinite = force is not None and force['pooled'] is None
        lines[f'round {one["round"]}'] = [
            UNKNOWN if force is None else force['n_scores'],
            UNKNOWN if force is None else force['n_groups'],
            'bounds are infinite' if infinite else _percent(one['errors']['fraction_bounded']),
            *(_percent(coverage.get(name, {}).get('fraction')) for name in QUANTITIES),
        ]
    return render_table(head, lines)


def _estimate(rounds: Sequence[Mapping[str, Any]], target: float) -> list[str]:
    """Return the estimate of the number of labels, with the outcome."""
    estimate = next((one['label_estimate'] for one in rounds if one['label_estimate']), None)
    if estimate is None:
        return []
    last = rounds[-1]
    error = last['errors']['force_error']['value']
    measured = 'an unknown error' if error is None else f'an error of {error:.3f} eV/Å'
    return [
        '<h3>Number of labels</h3>',
        f'<p>After the first round, the estimated number of training labels for a force error of {target:g} eV/Å was '
        f'{estimate["median"]:.0f}, with an 80 % interval from {estimate["low"]:.0f} to {estimate["high"]:.0f}. '
        f'Outcome: round {last["round"]} has {measured}; its number of training labels is {_n_trained(last)}.</p>',
    ]


def _table_of_trainings(rounds: Sequence[Mapping[str, Any]]) -> str:
    head = ['', 'training\nrows', 'validation\nrows', 'epochs', 'best\nepoch']
    head += ['initial\nforce error\neV/Å', 'final\nforce error\neV/Å', 'time\ns']
    lines: dict[str, list[float | str]] = {}
    for one in rounds:
        for name, training in one['trainings'].items():
            errors = (training[key].get('valid', {}) for key in ('initial_errors', 'final_errors'))
            lines[f'round {one["round"]}, {name.replace("_", " ")}'] = [
                training['n_frames']['train'],
                training['n_frames']['valid'],
                len(training['epochs']),
                UNKNOWN if training['best_epoch'] is None else training['best_epoch'],
                *(_scaled(found.get('force_rmse_eV_A')) for found in errors),
                round(training['wall_time_s']),
            ]
    return render_table(head, lines)


def _scaled(value: float | None, factor: float = 1.0) -> float | str:
    return UNKNOWN if value is None else factor * value


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f'{100 * value:.0f} %'
