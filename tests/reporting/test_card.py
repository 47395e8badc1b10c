import json
import re
from dataclasses import replace

import pytest
from support.errors import refused

from aiida_mlip_autopipe.calculators.licences import NOT_KNOWN, SEVENNET, licence_of
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.reporting.card import describe_dataset, render_card, write_card
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory


def test_a_card_counts_the_properties_of_the_rows(make_rows):
    card = describe_dataset(make_rows(3))
    assert (card['n_rows'], card['n_atoms']) == (3, 36)
    assert card['counts'] == {
        'level of theory': {'mlip:emt': 3},
        'further labels': {},
        'elements': {'Au': 3, 'Cu': 3},
        'compositions': {'AuCu2': 3},
        'kinds of seeds': {'alloy': 3},
        'labels of entries': {},
        'ensembles': {'nvt': 3},
        'atoms per structure': {'12': 3},
        'periodic directions': {'3': 3},
    }


def test_a_card_contains_the_quantiles_of_the_distributions(make_rows):
    rows = make_rows(3)
    distributions = describe_dataset(rows)['distributions']
    energies = [row.atoms.get_potential_energy() / 12 for row in rows]
    assert distributions['energy, eV/atom'][::2] == pytest.approx(energies)
    assert distributions['instantaneous temperature, K'] == [312.123456789] * 5
    stress = rows[0].atoms.calc.results['stress']
    assert distributions['static pressure, GPa'][0] == pytest.approx(-stress[:3].mean() * 160.21766)


def test_rows_are_grouped_by_origin(make_rows):
    card = describe_dataset([*make_rows(3), *make_rows(1, campaign='other', model='m.pth', model_sha256='a' * 64)])
    assert [(origin['n_rows'], origin['campaign'], origin['labelled']['model']) for origin in card['origins']] == [
        (3, 'cu_au', None),
        (1, 'other', 'm.pth'),
    ]


def test_a_card_contains_the_versions_of_the_calculator(make_rows):
    rows = make_rows(1, ase_version='3.29.0', calculator_version='0.13.0', torch_version='2.13.0', precision='float32')
    text = render_card(describe_dataset(rows), 'x')
    for fact in ('ase_version 3.29.0', 'calculator_version 0.13.0', 'torch_version 2.13.0', 'precision float32'):
        assert fact in text


def test_a_dataset_without_problems_has_no_warnings(make_rows):
    assert describe_dataset(make_rows(3))['warnings'] == []


def test_mixed_labels_duplicates_and_missing_stress_are_warnings(make_rows):
    rows = [*make_rows(4), *make_rows(1, label_source='dft:vasp:pbe')]
    for row in rows[1:4]:
        del row.atoms.calc.results['stress']
    numbers = [re.findall(r'\b\d+', warning) for warning in describe_dataset(rows)['warnings']]
    n_levels, n_duplicates, n_without_stress = ['2'], ['1'], ['3']
    assert numbers == [n_levels, n_duplicates, n_without_stress]


def test_a_card_is_written_as_markdown_and_json(make_rows, tmp_path):
    rows = make_rows(2)
    write_card(tmp_path / 'cu_au.md', rows, config='name: cu_au\n')
    text = (tmp_path / 'cu_au.md').read_text()
    assert '2 structures, 24 atoms' in text
    assert '- compositions: AuCu2 (2)' in text
    assert '- 2 rows: campaign cu_au, random_seed 7, config_sha256 sha256:' in text
    assert '    - explored and labelled by: label_source mlip:emt, ' in text
    assert '```yaml\nname: cu_au\n```' in text
    assert json.loads((tmp_path / 'cu_au.json').read_text()) == describe_dataset(rows) | {'config': 'name: cu_au\n'}


def test_a_card_contains_the_licence_of_the_weights_and_its_source(make_rows):
    rows = [
        *make_rows(1, architecture='sevennet', model='7net-0'),
        *make_rows(1, architecture='mace', model='mine.model'),
    ]
    card = describe_dataset(rows)
    assert card['licences'] == [
        {
            'architecture': 'sevennet',
            'model': '7net-0',
            'licence': SEVENNET,
            'source': 'https://github.com/MDIL-SNU/SevenNet/blob/main/LICENSE',
        },
        {
            'architecture': 'mace',
            'model': 'mine.model',
            'licence': NOT_KNOWN,
            'source': None,
        },
    ]
    assert f'- mace mine.model: {NOT_KNOWN}' in render_card(card, 'x')


@pytest.mark.parametrize(
    ('architecture', 'model', 'licence'),
    [
        ('emt', None, 'none: the calculator has no weights'),
        ('chgnet', '0.3.0', 'modified BSD'),
        ('sevennet', 'checkpoint_mine.pth', 'unknown'),
        ('mace', 'mace-mpa-0-medium.model', 'MIT'),
        ('mace', '2023-12-03-mace-128-L1_epoch-199.model', 'MIT'),
        ('mace', 'mace-omat-0-medium.model', 'Academic Software License'),
        ('mace', 'MACE-matpes-r2scan-omat-ft.model', 'Academic Software License'),
        ('mace', 'MACE-OFF23_small.model', 'Academic Software License'),
    ],
)
def test_the_name_of_the_weights_determines_the_licence(architecture, model, licence):
    assert licence_of(architecture, model).licence.startswith(licence)


def test_energies_of_isolated_atoms_are_shown_and_different_energies_are_a_warning(make_rows):
    rows = make_rows(2)
    for row, energy in zip(rows, (3.5, 3.6), strict=True):
        row.data['isolated_atoms'] = {'Cu': energy, 'Au': 3.8}
    assert describe_dataset(rows[:1])['isolated_atom_energies_eV'] == {'Cu': 3.5, 'Au': 3.8}
    assert 'Isolated atoms, eV: Cu 3.5, Au 3.8.' in render_card(describe_dataset(rows[:1]), 'x')
    card = describe_dataset(rows)
    assert card['isolated_atom_energies_eV'] is None
    assert any('3.5' in warning and '3.6' in warning and 'Cu' in warning for warning in card['warnings'])


def test_long_lists_of_values_are_shortened(make_rows):
    card = describe_dataset(make_rows(1))
    card['counts']['compositions'] = {f'Cu{i}': 1 for i in range(20)}
    assert 'Cu11 (1) and 8 more' in render_card(card, 'x')


def test_existing_files_and_unsupported_suffixes_are_refused(make_rows, tmp_path):
    (tmp_path / 'cu_au.json').write_text('precious')
    with refused(Code.FILE_EXISTS, 'cu_au.json'):
        write_card(tmp_path / 'cu_au.md', make_rows(1))
    assert [path.name for path in tmp_path.iterdir()] == ['cu_au.json']
    with refused(Code.FILE_SUFFIX, '.md', 'cu_au.txt'):
        write_card(tmp_path / 'cu_au.txt', make_rows(1))


def test_a_dataset_without_rows_is_refused():
    with refused(Code.DATASET_EMPTY):
        describe_dataset([])


def test_dft_labels_have_their_own_origin_and_no_licence_of_weights(make_rows):
    card = describe_dataset(make_rows(1, architecture='sevennet', model='7net-0', label_source='dft:vasp:pbe'))
    assert card['licences'] == []
    assert '## Licences' not in render_card(card, 'x')
    (origin,) = card['origins']
    assert origin['explored']['model'] == '7net-0'
    assert (origin['labelled']['architecture'], origin['labelled']['model']) == ('vasp', None)
    text = render_card(card, 'x')
    assert '- explored by: architecture sevennet, model 7net-0' in text
    assert '- labelled by: label_source dft:vasp:pbe' in text


def test_two_levels_with_the_same_name_are_counted_separately_and_a_warning_says_so(make_rows):
    rows = []
    for dispersion in (False, True):
        level = LevelOfTheory(
            method='mlip', code='mace', name='mlip:mace:a.model', parameters={'dispersion': dispersion}
        )
        (row,) = make_rows(1)
        pairs = row.key_value_pairs | {'label_source': level.name, 'level': level.hash}
        rows.append(replace(row, key_value_pairs=pairs, data=row.data | {'level': level.model_dump()}))
    card = describe_dataset(rows)
    assert list(card['counts']['level of theory'].values()) == [1, 1]
    assert 'dispersion: false and true' in card['warnings'][0]


def test_a_card_contains_the_contents_of_the_stored_sets(make_rows):
    rows = make_rows(4)
    for row, split in zip(rows, ('train', 'train', 'test'), strict=False):
        row.key_value_pairs.update({'split': split, 'label': 'hot' if split == 'test' else 'cold'})
    card = describe_dataset(rows)
    assert [found['n'] for found in card['sets'].values()] == [2, 0, 1]
    assert card['sets']['test']['label'] == {'hot': 1}
    text = render_card(card, 'x')
    for line in ('| set | train | valid | test |', '| rows | 2 | 0 | 1 |', '| label cold | 2 | 0 | 0 |'):
        assert line in text
    assert 'without a set: 1' in text
    assert describe_dataset(make_rows(2))['sets'] == {}


def test_a_card_shows_the_version_of_the_dataset(make_rows):
    card = describe_dataset(make_rows(1), '1.2.0')
    assert card['version'] == '1.2.0'
    assert '1.2.0' in render_card(card, 'x')
    assert describe_dataset(make_rows(1))['version'] is None


def test_text_from_a_dataset_is_escaped(make_rows):
    card = describe_dataset(make_rows(3))
    card['counts']['kinds'] = {'<script>alert(1)</script>|x\n# title': 3}
    text = render_card({**card, 'config': 'a: "```"\n'}, '<b>name</b>')
    assert '<script>' not in text
    assert '<b>' not in text
    assert '\n# title' not in text
    assert '````yaml\na: "```"\n````' in text
