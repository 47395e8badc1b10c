import json
import re

import pytest
from support.round_reports import make_report, make_rounds

from aiida_mlip_autopipe.reporting.report_card import write_report_card
from aiida_mlip_autopipe.reporting.rounds_section import draw_rounds, render_rounds


def render(*reports, **fields):
    return '\n'.join(render_rounds(make_rounds(*reports, **fields)))


def lines_of(page, title):
    """Return the cells of the lines of the table below a title."""
    table = page.split(f'<h3>{title}</h3>')[1].split('</table>')[0]
    rows = [re.findall('<td>(.*?)</td>', row, flags=re.DOTALL) for row in table.split('</tr>')]
    return {cells[0]: cells[1:] for cells in rows if cells}


def test_the_errors_of_each_round_are_beside_their_limits_and_targets():
    targets = {'force_eV_A': 0.05, 'energy_eV_atom': 0.001}
    errors = lines_of(render(make_report(1, 0.2), make_report(2, 0.1), targets=targets), 'Errors on the test set')
    # Labels, labels for training, force (eV/Å) with limit and target, stress (GPa), energy (meV/atom).
    assert errors['starting model'] == ['0', '0', '0.4', '0.5', '0.05', '4', '5', '40', '50', '1']
    assert errors['round 1'] == ['40', '30', '0.2', '0.25', '0.05', '2', '2.5', '20', '25', '1']
    assert errors['round 2'][:4] == ['80', '30', '0.1', '0.125']


def test_a_refused_model_is_reported_with_the_reasons():
    page = render(make_report(1, 0.2, former=0.3, failures=('repulsion',)))
    assert lines_of(page, 'New models')['round 1'][0] == 'refused'
    # The error is that of the previous model.
    assert lines_of(page, 'Errors on the test set')['round 1'][2] == '0.3'
    assert '&lt;repulsion&gt;' in page
    assert '<repulsion>' not in page


def test_the_coverage_is_reported_from_the_second_round_on_and_infinite_bounds_are_named():
    bounds = lines_of(render(make_report(1, pooled=None), make_report(2)), 'Error bounds')
    assert bounds['round 1'] == ['10', '6', 'bounds are infinite', '–', '–', '–']
    assert bounds['round 2'] == ['10', '10', '75 %', '88 %', '–', '–']


def test_the_estimate_is_beside_the_outcome():
    page = render(make_report(1, 0.2, estimate=True), make_report(2, 0.125))
    (text,) = re.findall('<h3>Number of labels</h3>\n<p>(.*?)</p>', page)
    for number in ('321', '210', '654', '30', '0.125'):
        assert number in text
    assert 'Number of labels' not in render(make_report(1))


def test_the_training_runs_are_listed_with_their_errors():
    runs = lines_of(render(make_report(1)), 'Training runs')
    assert runs['round 1, tuning 0'] == ['27', '3', '3', '3', '0.4', '0.0625', '12']


def test_suggestions_and_errors_of_kinds_are_shown_only_if_there_are_any():
    page = render(make_report(1))
    assert 'Suggestions' not in page
    assert 'kind of seed' not in page
    kinds = {'slab': {'force_error_eV_A': 0.25, 'n_components': 30, 'n_groups': 4}}
    page = render(make_report(1), suggestions=[{'rule': 'more_replay', 'message': 'a & b'}], errors_by_kind=kinds)
    assert '<li>a &amp; b</li>' in page
    assert '<td>slab</td><td>0.25</td><td>4</td>' in page


def test_a_round_without_a_new_model_is_reported():
    failed = make_report(1) | {'judgement': None, 'bounds': None, 'failures': {'tuning_0': 'out of memory'}}
    failed['errors'] |= {'force_error': {'value': None, 'upper_limit': None}, 'further_errors': None, 'accepted': False}
    rounds = make_rounds(failed)
    rounds['rounds'][0]['trainings'] = {}
    page = '\n'.join(render_rounds(rounds))
    assert 'tuning_0 failed: out of memory' in page
    assert lines_of(page, 'New models')['round 1'][0] == 'no new model'
    assert draw_rounds(rounds) == {}


def test_a_campaign_without_a_finished_round_has_no_tables():
    assert '<table>' not in render()
    assert draw_rounds(make_rounds()) == {}


def test_the_curve_starts_at_the_starting_model_and_shows_the_target():
    drawn = draw_rounds(make_rounds(make_report(1, 0.2), make_report(2, 0.1)))
    error, limit, target = drawn['Force error'].data
    assert list(error.x) == list(limit.x) == [0, 40, 80]
    assert list(error.y) == [0.4, 0.2, 0.1]
    assert list(limit.y) == pytest.approx([0.5, 0.25, 0.125])
    assert set(target.y) == {0.05}
    assert [list(line.x) for line in drawn['Training'].data] == [[1, 2, 3], [1, 2, 3]]


def test_a_report_card_contains_the_rounds_and_their_numbers(tmp_path, make_rows):
    path = tmp_path / 'rounds.html'
    write_report_card(path, make_rows(6), rounds=make_rounds(make_report(1)))
    titles = re.findall('<h2>(.*?)</h2>', path.read_text())
    assert titles[0] == 'Rounds'
    assert {'Force error', 'Training'} <= set(titles)
    assert json.loads(path.with_suffix('.json').read_text())['rounds']['rounds'][0]['n_labels'] == 40
