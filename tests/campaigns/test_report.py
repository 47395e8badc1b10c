import json

import pytest
from ase.build import bulk

from aiida_mlip_autopipe.campaigns.account import describe_campaign
from aiida_mlip_autopipe.campaigns.export import read_rows
from aiida_mlip_autopipe.campaigns.history.events import collect_events, count_crashes
from aiida_mlip_autopipe.campaigns.report import read_campaign_report, selection_warnings, write_campaign_report
from aiida_mlip_autopipe.core.plain import to_json
from aiida_mlip_autopipe.reporting.card import describe_dataset
from aiida_mlip_autopipe.storage import Row
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory

pytestmark = pytest.mark.integration


def test_the_report_card_compares_the_selection_with_random_ones_and_shows_the_cost(tiny_campaign, tmp_path):
    path = tmp_path / 'card.html'
    assert write_campaign_report(tiny_campaign, path) == 10
    numbers = json.loads(path.with_suffix('.json').read_text())
    assert numbers['dataset']['n_rows'] == 10
    # The curve ends at the value of the sampler, which used all components of the same descriptor.
    assessment = numbers['assessment']
    assert assessment['n_candidates'] == tiny_campaign.outputs.selection_report['n_candidates']
    assert assessment['curve']['radius'][-1] == pytest.approx(
        tiny_campaign.outputs.selection_report['coverage_radius'], rel=5e-2
    )
    assert len(assessment['map']['chosen']['name']) == 10
    tables = numbers['campaign']
    assert tables['Explorations'] == {'completed': 3}
    assert (tables['Seeds']['requested'], tables['Seeds']['made']) == (3, 3)
    assert (tables['Frames']['explored'], tables['Frames']['selected']) == (30, 10)
    assert tables['Time']['force calls'] == 3 * 21
    assert tables['Time']['hours of dynamics'] > 0
    assert f'<h1>{tiny_campaign.label}</h1>' in path.read_text()
    assert '<h2>Comparison with a random selection of the same size</h2>' in path.read_text()


def test_crashes_are_counted_by_guard():
    events = [{'rule': 'relaxation'}, {'rule': 'temperature'}]
    results = [
        {'outcome': 'unstable', 'events': events},
        {'outcome': 'no_frame', 'events': events[::-1]},
        {'outcome': 'unstable', 'events': events},
        {'outcome': 'completed', 'events': events},
    ]
    assert count_crashes(results) == {'temperature': 2, 'relaxation': 1}


def test_events_other_than_crashes_are_reported_by_rule():
    ends = {'rule': 'novelty', 'message': 'the run ends'}
    cools = {'rule': 'novelty', 'message': 'the run is cooled'}
    crash = {'rule': 'force', 'message': 'too large'}
    results = [
        {'outcome': 'completed', 'events': [ends]},
        {'outcome': 'unstable', 'events': [cools, crash]},
        {'outcome': 'completed', 'events': []},
    ]
    (found,) = collect_events(results)
    assert (found.rule, found.n_events, found.example) == ('novelty', 2, 'the run ends')


def test_a_reference_dataset_with_labels_from_another_source_gives_a_warning():
    rows = [Row(bulk('Cu'), {'label_source': 'mlip:emt'})]
    report = {'warnings': ['too few frames'], 'reference_label_sources': ['dft:vasp:pbe', 'mlip:emt']}
    first, second = selection_warnings(report, rows)
    assert first == 'too few frames'
    assert second.index('dft:vasp:pbe') < second.index('mlip:emt')
    assert selection_warnings(report | {'reference_label_sources': ['mlip:emt']}, rows) == ['too few frames']


def test_a_reference_dataset_with_another_level_of_the_same_name_gives_a_warning_with_the_field():
    levels = [
        LevelOfTheory(method='mlip', code='mace', name='mlip:mace:a', parameters={'dispersion': dispersion})
        for dispersion in (False, True)
    ]
    pairs = {'label_source': 'mlip:mace:a', 'level': levels[0].hash}
    rows = [Row(bulk('Cu'), pairs, {'level': levels[0].model_dump()})]
    report = {'warnings': [], 'reference_label_sources': ['mlip:mace:a']}
    same = {levels[0].hash: levels[0].model_dump()}
    assert selection_warnings(report | {'reference_levels': same}, rows) == []
    (warning,) = selection_warnings(report | {'reference_levels': {levels[1].hash: levels[1].model_dump()}}, rows)
    assert 'dispersion: true and false' in warning
    (warning,) = selection_warnings(report | {'reference_levels': {'level-1': None}}, rows)
    assert 'level-1' in warning


def test_the_report_as_data_agrees_with_the_report_card(tiny_campaign):
    plain = json.loads(to_json(read_campaign_report(tiny_campaign)))
    assert plain['name'] == tiny_campaign.label
    assert plain['assessment']['n_candidates'] == tiny_campaign.outputs.selection_report['n_candidates']
    card = describe_dataset(read_rows(tiny_campaign))
    assert plain['dataset']['counts']['kinds'] == card['counts']['kinds of seeds']
    energies = plain['dataset']['distributions']['energy_eV_per_atom']
    assert list(energies.values()) == card['distributions']['energy, eV/atom']
    account, tables = plain['account'], describe_campaign(tiny_campaign)
    assert account['endings'] == [{'exit_status': 0, 'reason': 'completed', 'n_explorations': 3}]
    assert (account['n_seeds_requested'], account['n_frames_selected']) == (3, tables['Frames']['selected'])
    assert account['n_force_calls'] == tables['Time']['force calls']
    assert account['elapsed_s'] / 3600 == tables['Time']['hours from start to end']
