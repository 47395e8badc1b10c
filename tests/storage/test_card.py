import json

import pytest

from aiida_mlip_autopipe.errors import AutopipeError
from aiida_mlip_autopipe.storage.card import describe_dataset, render_card, write_card


def test_a_card_counts_what_the_rows_are(make_rows):
    card = describe_dataset(make_rows(3))
    assert (card['n_rows'], card['n_atoms']) == (3, 36)
    assert card['counts'] == {
        'level of theory': {'mlip:emt': 3},
        'elements': {'Au': 3, 'Cu': 3},
        'compositions': {'AuCu2': 3},
        'kinds of seed': {'alloy': 3},
        'ensembles': {'nvt': 3},
        'atoms per structure': {'12': 3},
        'periodic directions': {'3': 3},
    }


def test_a_card_tells_the_ends_and_the_middle_of_the_distributions(make_rows):
    rows = make_rows(3)
    distributions = describe_dataset(rows)['distributions']
    energies = [row.atoms.get_potential_energy() / 12 for row in rows]
    assert distributions['energy, eV/atom'][::2] == pytest.approx(energies)
    assert distributions['temperature, K'] == [312.123456789] * 5
    stress = rows[0].atoms.calc.results['stress']
    assert distributions['pressure, GPa'][0] == pytest.approx(-stress[:3].mean() * 160.21766)


def test_rows_are_grouped_by_origin(make_rows):
    card = describe_dataset([*make_rows(3), *make_rows(1, campaign='other', model='m.pth', model_sha256='a' * 64)])
    assert [(origin['n_rows'], origin['campaign'], origin['model']) for origin in card['origins']] == [
        (3, 'cu_au', None),
        (1, 'other', 'm.pth'),
    ]


def test_a_clean_dataset_has_no_warning(make_rows):
    assert describe_dataset(make_rows(3))['warnings'] == []


def test_mixed_labels_copies_and_missing_stress_are_told(make_rows):
    rows = [*make_rows(2), *make_rows(1, label_source='dft:vasp:pbe')]
    del rows[1].atoms.calc.results['stress']
    assert describe_dataset(rows)['warnings'] == [
        'labels of 2 levels of theory; no model can be trained on all of them at once',
        '1 structures are copies of others, perhaps turned, renumbered or repeated',
        '1 periodic structures have no stress',
    ]


def test_markdown_and_json_are_written_side_by_side(make_rows, tmp_path):
    rows = make_rows(2)
    write_card(tmp_path / 'cu_au.md', rows, config='name: cu_au\n')
    text = (tmp_path / 'cu_au.md').read_text()
    assert '2 structures, 24 atoms' in text
    assert '- compositions: AuCu2 (2)' in text
    assert '- 2 rows: campaign cu_au, random_seed 7, config_sha256 sha256:' in text
    assert '```yaml\nname: cu_au\n```' in text
    assert json.loads((tmp_path / 'cu_au.json').read_text()) == describe_dataset(rows) | {'config': 'name: cu_au\n'}


def test_many_values_are_cut_short(make_rows):
    card = describe_dataset(make_rows(1))
    card['counts']['compositions'] = {f'Cu{i}': 1 for i in range(20)}
    assert 'Cu11 (1) and 8 more' in render_card(card, 'x')


def test_existing_files_and_other_suffixes_are_refused(make_rows, tmp_path):
    (tmp_path / 'cu_au.json').write_text('precious')
    with pytest.raises(AutopipeError, match='exists already'):
        write_card(tmp_path / 'cu_au.md', make_rows(1))
    assert [path.name for path in tmp_path.iterdir()] == ['cu_au.json']
    with pytest.raises(AutopipeError, match=r'ends in \.md'):
        write_card(tmp_path / 'cu_au.txt', make_rows(1))


def test_no_row_is_one_sentence():
    with pytest.raises(AutopipeError, match='without a row'):
        describe_dataset([])
