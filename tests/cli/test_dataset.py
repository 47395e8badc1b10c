import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read
from support.errors import assert_refused
from support.home import Home
from support.pw_runs import crystal, finish_calculations, label_by_emt, layer

from aiida_mlip_autopipe.config import config_hash, load_config
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset, Provenance, export_dataset, make_row
from aiida_mlip_autopipe.storage.formats.export import FORMATS
from aiida_mlip_autopipe.storage.relabel import relabel
from aiida_mlip_autopipe.structures.rows.labels import RowLabels
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory


def make_rows(n_groups, **fields):
    rows = []
    for group in range(n_groups):
        atoms = bulk('Cu', cubic=True)
        atoms.rattle(0.1, seed=group)
        atoms.calc = EMT()
        results = {name: atoms.calc.get_property(name, atoms) for name in ('energy', 'forces', 'stress')}
        atoms.calc = SinglePointCalculator(atoms, **results)
        provenance = Provenance(
            **{
                'campaign': 'cu',
                'random_seed': 0,
                'config_sha256': '0' * 64,
                'seed_id': f'seed{group}',
                'exploration': 'uuid',
                'step': 10 * group,
                'ensemble': 'nvt',
                'architecture': 'emt',
                'package_version': '0.1.0',
                'rank': group,
            }
            | fields
        )
        rows.append(make_row(atoms, provenance, {'kind': 'alloy', 'parent': f'parent{group}'}))
    return rows


def sets_in(stdout):
    """Return the number of rows, the number of groups and the file of each set."""
    found = re.findall(r'(\d+) \w+ .*?(\d+) \w+ .*?([\w.-]+)$', stdout, re.MULTILINE)
    return [(int(rows), int(groups), file) for rows, groups, file in found]


@pytest.fixture(autouse=True)
def dataset(empty_folder):
    export_dataset(Path('cu.db'), make_rows(10))


def test_info_prints_the_content_of_a_dataset(run):
    result = run('dataset', 'info', 'cu.db')
    assert result.exit_code == 0
    assert all(value in result.stdout for value in ('# cu\n', '10 ', '40 atoms', 'mlip:emt (10)'))


def test_info_prints_json(run):
    result = run('dataset', 'info', 'cu.db', '--json')
    assert (result.exit_code, result.stderr) == (0, '')
    info = json.loads(result.stdout)
    assert (info['n_rows'], info['n_atoms']) == (10, 40)
    assert info['counts']['level_of_theory'] == {'mlip:emt': 10}
    assert info['origins'][0]['n_rows'] == 10
    with Dataset(Path('cu.db')) as dataset:
        energies = [row.atoms.get_potential_energy() / 4 for row in dataset.query()]
    found = info['distributions']['energy_eV_per_atom']
    assert (found['minimum'], found['maximum']) == pytest.approx((min(energies), max(energies)))
    Path('meta.yaml').write_text(METADATA)
    assert json.loads(run('dataset', 'info', 'cu.db', '--json', '--metadata', 'meta.yaml').stdout)['version'] == '1.0.0'
    both = run('dataset', 'info', 'cu.db', '--json', '--card', 'cu.md')
    assert_refused(both.stderr, Code.VALUES_EXCLUDE, '--json', '--card')
    missing = run('dataset', 'info', 'missing.db', '--json')
    assert (missing.exit_code, missing.stdout) == (2, '')
    assert_refused(missing.stderr, Code.FILE_MISSING, 'missing.db')


def test_info_writes_a_card_with_the_config(run, campaign):
    result = run('dataset', 'info', 'cu.db', '--card', 'cu.md', '--config', 'campaign.yaml')
    assert result.exit_code == 0
    assert campaign.read_text().strip() in Path('cu.md').read_text()
    assert json.loads(Path('cu.json').read_text())['n_rows'] == 10
    # The config is not that of the rows.
    assert f'sha256:{"0" * 64}' in result.stderr
    assert 'sha256:' + config_hash(load_config(campaign)) in result.stderr


def test_info_accepts_the_config_of_the_rows_without_a_warning(run, campaign):
    export_dataset(Path('own.db'), make_rows(2, config_sha256=config_hash(load_config(campaign))))
    assert run('dataset', 'info', 'own.db', '--config', 'campaign.yaml').stderr == ''


def test_select_and_diff_use_keys_as_users_type_them(run):
    assert run('dataset', 'convert', 'cu.db', '-o', 'alloy.db', '--select', 'kind=alloy,step>50').exit_code == 0
    malformed = run('dataset', 'convert', 'cu.db', '-o', 'no.db', '--select', 'kind==alloy')
    assert_refused(malformed.stderr, Code.SELECTION_MALFORMED, 'kind==alloy')
    renamed = run('dataset', 'convert', 'cu.db', '-o', 'no.db', '--select', 'seed_kind=alloy')
    assert_refused(renamed.stderr, Code.KEY_RENAMED, 'seed_kind', 'kind')
    export_dataset(Path('renamed.db'), make_rows(10, campaign='other'))
    result = run('dataset', 'diff', 'cu.db', 'renamed.db')
    assert result.exit_code == 1
    assert 'different campaign: ' in result.stdout
    assert 'different data.provenance.campaign: ' in result.stdout


def test_report_writes_a_page_and_its_numbers(run):
    result = run('dataset', 'report', 'cu.db', '-o', 'cu.html')
    assert all(value in result.stdout for value in ('10 ', 'cu.html'))
    assert '<h1>cu</h1>' in Path('cu.html').read_text()
    assert json.loads(Path('cu.json').read_text())['dataset']['n_rows'] == 10


def test_split_writes_three_files_and_reports_their_sizes(run):
    result = run('dataset', 'split', 'cu.db', '-o', 'sets.extxyz', '--test-fraction', '0.2')
    assert sets_in(result.stdout) == [
        (7, 7, 'sets-train.extxyz'),
        (1, 1, 'sets-valid.extxyz'),
        (2, 2, 'sets-test.extxyz'),
    ]
    assert {atoms.info['split'] for atoms in read('sets-test.extxyz', ':')} == {'test'}
    table = dict(re.findall(r'^(\w[\w ]*?)  +(\d[\d ]*?) *$', result.stdout, re.MULTILINE))
    table = {name: [int(number) for number in numbers.split()] for name, numbers in table.items()}
    assert table['rows'] == table['groups'] == table['kind alloy'] == table['composition Cu'] == [7, 1, 2]
    assert table['requested'] == [1, 2]


def test_split_writes_a_config_for_each_trainer(run):
    result = run('dataset', 'split', 'cu.db', '-o', 'sets.extxyz', '--trainer', 'mace', '--trainer', 'sevennet')
    written = [line.split()[-1] for line in result.stdout.splitlines() if line.startswith('✓')]
    assert written[-2:] == ['sets-mace.yaml', 'sets-sevennet.yaml']
    assert 'train_file: sets-train.extxyz' in Path('sets-mace.yaml').read_text()
    # The rows have no energy of an isolated atom.
    assert all(value in result.stdout for value in ('sets-mace', 'Cu', 'E0s'))


def test_split_writes_a_config_for_fine_tuning_with_replay_and_weights(run):
    Path('base.model').touch()
    Path('pool.extxyz').touch()
    kind = make_rows(1)[0].key_value_pairs['kind']
    options = ['--trainer', 'mace', '--fine-tune', 'base.model', '--replay', 'pool.extxyz', '--weight', f'{kind}=2']
    run('dataset', 'split', 'cu.db', '-o', 'sets.extxyz', *options)
    text = Path('sets-mace.yaml').read_text()
    for line in (
        'foundation_model: base.model',
        'pt_train_file: pool.extxyz',
        f"config_type_weights: '{{''{kind}'': 2.0",
    ):
        assert line in text


def test_impossible_options_of_trainers_are_refused(run):
    for options, code, values in (
        (['--fine-tune', '7net-0'], Code.VALUES_INCOMPLETE, ['--trainer']),
        (['--replay', 'a.xyz', '--trainer', 'mace'], Code.VALUES_INCOMPLETE, ['--fine-tune']),
        (['--weight', 'surface=2'], Code.VALUES_INCOMPLETE, ['--trainer']),
        (['--weight', 'surface', '--trainer', 'mace'], Code.WRONG_PATTERN, ['surface=2']),
    ):
        result = run('dataset', 'split', 'cu.db', '-o', 'sets.extxyz', *options)
        assert_refused(result.stderr, code, *values)
    assert not list(Path().glob('sets*'))


def test_split_uses_the_sets_drawn_before_the_selection(run):
    rows = [*make_rows(6, split='train'), *make_rows(10, split='test')[6:]]
    export_dataset(Path('cu.db'), rows, overwrite=True)
    result = run('dataset', 'split', 'cu.db')
    assert sets_in(result.stdout) == [(6, 6, 'cu-train.db'), (4, 4, 'cu-test.db')]
    by_parent = run('dataset', 'split', 'cu.db', '--by', 'parent', '--force')
    assert sets_in(by_parent.stdout)[0] == (8, 8, 'cu-train.db')


def test_a_trainer_never_gets_a_config_without_a_validation_set(run):
    rows = [*make_rows(6, split='train'), *make_rows(10, split='test')[6:]]
    export_dataset(Path('cu.db'), rows, overwrite=True)
    options = ('-o', 'sets.extxyz', '--trainer', 'mace', '--trainer', 'sevennet')
    none = run('dataset', 'split', 'cu.db', *options, '--valid-fraction', '0')
    assert_refused(none.stderr, Code.SPLIT_EMPTY, 'valid_fraction', 'mace, sevennet')
    assert not list(Path.cwd().glob('sets*'))
    run('dataset', 'split', 'cu.db', *options)
    assert 'valid_file: sets-valid.extxyz' in Path('sets-mace.yaml').read_text()
    assert 'load_validset_path' in Path('sets-sevennet.yaml').read_text()
    steps = {split: {atoms.info['step'] for atoms in read(f'sets-{split}.extxyz', ':')} for split in ('valid', 'test')}
    assert steps['test'] == {60, 70, 80, 90}
    assert len(steps['valid'] - steps['test']) == 1


def test_rows_without_a_stored_set_are_used_for_training_and_counted_in_a_warning(run):
    export_dataset(Path('cu.db'), [*make_rows(3, split='test'), *make_rows(10)[3:]], overwrite=True)
    result = run('dataset', 'split', 'cu.db')
    assert re.search(r'warning: .* 3 .*10 ', result.stdout)
    assert sets_in(result.stdout) == [(7, 7, 'cu-train.db'), (3, 3, 'cu-test.db')]
    drawn = run('dataset', 'split', 'cu.db', '--by', 'parent', '--force')
    assert re.search(r'warning: .* 3 .*10 ', drawn.stdout)
    assert (8, 8, 'cu-train.db') in sets_in(drawn.stdout)


def test_the_suffix_determines_the_format_that_merge_and_convert_write(run):
    export_dataset(Path('more.db'), make_rows(12))
    merged = run('dataset', 'merge', 'cu.db', 'more.db', '-o', 'all.db')
    assert all(value in merged.stdout for value in (' 12 ', 'all.db'))
    result = run('dataset', 'convert', 'all.db', '-o', 'some.extxyz', '--select', 'step>=100')
    assert all(value in result.stdout for value in (' 2 ', 'some.extxyz'))
    assert [atoms.info['step'] for atoms in read('some.extxyz', ':')] == [100, 110]


def test_a_database_is_converted_to_a_database(run):
    result = run('dataset', 'convert', 'cu.db', '-o', 'some.db', '--select', 'step>=70')
    assert all(value in result.stdout for value in (' 3 ', 'some.db'))
    with Dataset(Path('some.db')) as dataset:
        assert [row.provenance.step for row in dataset.query()] == [70, 80, 90]


def with_both_labels(rows):
    """Return rows with DFT labels, 100 eV below those of EMT, next to those of EMT."""
    level = LevelOfTheory(method='dft', code='gpaw', name='dft:gpaw:pbe', parameters={'functional': 'PBE'})
    about = {'isolated_atoms': {'Cu': -20.0}}
    return [
        relabel(row, RowLabels(row.labels | {'energy': row.labels['energy'] - 100}, level, about=about)) for row in rows
    ]


def test_info_names_all_levels_of_the_labels(run):
    export_dataset(Path('both.db'), with_both_labels(make_rows(3)) + make_rows(5)[3:])
    counts = json.loads(run('dataset', 'info', 'both.db', '--json').stdout)['counts']
    assert counts['level_of_theory'] == {'dft:gpaw:pbe': 3, 'mlip:emt': 2}
    assert counts['other_levels'] == {'mlip:emt': 3}
    assert 'further labels: mlip:emt (3)' in run('dataset', 'info', 'both.db').stdout


def test_the_labels_to_write_are_chosen(run):
    rows = make_rows(3)
    export_dataset(Path('both.db'), with_both_labels(rows))
    assert run('dataset', 'convert', 'both.db', '-o', 'mlip.extxyz', '--labels', 'mlip').exit_code == 0
    assert run('dataset', 'convert', 'both.db', '-o', 'dft.extxyz').exit_code == 0
    energies = [row.labels['energy'] for row in rows]
    assert [atoms.info['REF_energy'] for atoms in read('mlip.extxyz', ':')] == pytest.approx(energies)
    assert [atoms.info['REF_energy'] + 100 for atoms in read('dft.extxyz', ':')] == pytest.approx(energies)
    refused = run('dataset', 'convert', 'cu.db', '-o', 'cu.extxyz', '--labels', 'dft')
    assert_refused(refused.stderr, Code.LABELS_MISSING, 'dft', 'row 1', 'mlip:emt')
    assert not Path('cu.extxyz').exists()


def test_the_config_of_a_trainer_has_the_isolated_atoms_of_the_chosen_labels(run):
    rows = make_rows(10)
    rows = [replace(row, data=row.data | {'isolated_atoms': {'Cu': 3.5}}) for row in rows]
    export_dataset(Path('both.db'), with_both_labels(rows))
    for labels, energy in (('dft', -20.0), ('mlip', 3.5)):
        name = f'{labels}.extxyz'
        arguments = ('split', 'both.db', '-o', name, '--trainer', 'mace', '--trainer', 'sevennet', '--labels', labels)
        assert run('dataset', *arguments).exit_code == 0
        config = yaml.safe_load(Path(f'{labels}-mace.yaml').read_text())
        assert yaml.safe_load(str(config['E0s'])) == {29: energy}
        assert Path(f'{labels}-sevennet.yaml').exists()
        found = read(f'{labels}-train.extxyz', ':')
        known = [row.labels['energy'] - (100 if labels == 'dft' else 0) for row in rows]
        assert all(min(abs(atoms.info['REF_energy'] - one) for one in known) < 1e-6 for atoms in found)
    without = run('dataset', 'split', 'cu.db', '-o', 'cu.extxyz', '--trainer', 'mace', '--labels', 'dft')
    assert_refused(without.stderr, Code.LABELS_MISSING, 'dft', 'mlip:emt')
    assert not list(Path().glob('cu-*'))


def test_dft_inputs_are_written_and_missing_calculations_are_reported_for_each_row(run):
    Path('dft.yaml').write_text('code: vasp\nlabel_source: dft:vasp:pbe\nincar: {ENCUT: 400}\n')
    result = run('dataset', 'dft-inputs', 'cu.db', '-o', 'runs', '--settings', 'dft.yaml', '--select', 'step<20')
    assert all(value in result.stdout for value in ('vasp', ' 2 ', 'runs'))
    assert Path('runs/seed-seed1_10/INCAR').is_file()
    assert Path('runs/isolated_Cu/INCAR').is_file()
    result = run('dataset', 'label-from', 'runs', 'cu.db', '-o', 'dft.db')
    assert result.exit_code == 2
    for places in (
        ['runs/seed-seed0_0', 'vasprun.xml'],
        ['step 40 of seed-seed4', 'runs'],
        ['5 more', '8 rows', 'runs'],
    ):
        assert_refused(result.stderr, Code.CALCULATION_MISSING, *places)
    assert 'seed-seed9' not in result.stderr
    assert_refused(result.stderr, Code.LABELS_INCOMPLETE, '--skip-failed')
    result = run('dataset', 'label-from', 'runs', 'cu.db', '-o', 'dft.db', '--skip-failed')
    assert_refused(result.stderr, Code.DATASET_EMPTY)
    assert_refused(result.stderr, Code.CALCULATION_MISSING, 'runs/seed-seed0_0', 'vasprun.xml')
    assert not Path('dft.db').exists()


@pytest.mark.integration
def test_labels_are_read_from_files_even_without_a_profile(run, tmp_path):
    provenance = [row.provenance for row in make_rows(2)]
    rows = [label_by_emt(atoms, one) for atoms, one in zip((crystal(), layer()), provenance, strict=True)]
    export_dataset(Path('al.db'), rows)
    finish_calculations(Path('runs'), rows)
    arguments = ('dataset', 'label-from', 'runs', 'al.db', '-o')
    home = Home(tmp_path / 'home')
    without = home('mlip-autopipe', *arguments, 'dft.db')
    assert 'mlip-autopipe setup' in without.stdout
    unknown = home('mlip-autopipe', *arguments, 'other.db', '--profile', 'other', check=False)
    assert_refused(unknown.stderr, Code.PROFILE_MISSING, 'other')
    assert not Path('other.db').exists()
    chosen = run(*arguments, 'chosen.db', '--no-provenance')
    assert (chosen.exit_code, 'mlip-autopipe setup' in chosen.stdout) == (0, False)
    for name in ('dft.db', 'chosen.db'):
        with Dataset(Path(name)) as dataset:
            assert {row.key_value_pairs['label_source'] for row in dataset.query()} == {'dft:quantum-espresso:lda'}


def test_diff_lists_different_rows_and_exits_with_status_1(run):
    export_dataset(Path('more.db'), make_rows(11))
    result = run('dataset', 'diff', 'cu.db', 'more.db')
    assert result.exit_code == 1
    same, added = result.stdout.splitlines()
    assert '10 ' in same
    assert 'step 100 of seed-seed10 (uuid), mlip:emt' in added
    assert run('dataset', 'diff', 'cu.db', 'cu.db').exit_code == 0


METADATA = """\
title: Copper
description: Frames of copper.
authors: [{name: 'Curie, Marie'}]
licence: CC-BY-4.0
version: 1.0.0
links: ['https://example.org']
"""


def test_publish_lists_missing_metadata_and_writes_complete_metadata(run):
    missing = run('dataset', 'publish', 'cu.db', '--check', '-o', 'meta.json')
    assert missing.exit_code == 1
    assert all(name in missing.stdout for name in ('title', 'authors', 'licence', 'sha256:'))
    assert not Path('meta.json').exists()
    Path('meta.yaml').write_text(METADATA)
    written = run('dataset', 'publish', 'cu.db', '--metadata', 'meta.yaml', '-o', 'meta.json')
    assert written.exit_code == 0
    metadata = json.loads(Path('meta.json').read_text())
    assert metadata['checksum'] in run('dataset', 'info', 'cu.db').stdout
    assert metadata['datacite']['titles'] == [{'title': 'Copper'}]


@pytest.mark.parametrize('name', list(FORMATS))
def test_convert_writes_each_format_and_reports_what_it_does_not_store(run, name):
    target = name + (FORMATS[name].suffixes or ('',))[0]
    options = [] if FORMATS[name].suffixes else ['--format', name]
    result = run('dataset', 'convert', 'cu.db', '-o', target, *options)
    assert (result.exit_code, Path(target).exists()) == (0, True)
    assert ('provenance' in result.stdout) == bool(FORMATS[name].missing)


@pytest.mark.parametrize(
    ('arguments', 'code', 'values'),
    [
        (['info', 'no.db'], Code.FILE_MISSING, ['no.db']),
        (['info', 'cu.db', '--card', 'cu.md', '--config', 'no.yaml'], Code.FILE_MISSING, ['no.yaml']),
        (['split', 'cu.db', '--test-fraction', '1.5'], Code.OUT_OF_RANGE, ['test_fraction: ', '1']),
        (['split', 'cu.db', '--hold-out', 'surface'], Code.SPLIT_EMPTY, ['surface', 'alloy']),
        (['split', 'cu.db', '--trainer', 'mace'], Code.FILE_SUFFIX, ['--output', '.extxyz', 'cu.db']),
        (['split', 'cu.db', '--by', 'stored'], Code.ROW_KEY_MISSING, ['split']),
        (['convert', 'cu.db', '-o', 'cu.csv'], Code.FILE_SUFFIX, ['cu.csv', '.extxyz']),
        (['convert', 'cu.db', '-o', 'cu.db'], Code.FILE_EXISTS, ['cu.db']),
        (
            ['merge', 'cu.db', 'other.db', '-o', 'all.db'],
            Code.LEVELS_MIXED,
            ['cu.db', 'other.db', 'method: mlip and dft'],
        ),
        (['convert', 'cu.db', '-o', 'cu.db', '--format', 'nep'], Code.FILE_EXISTS, ['cu.db']),
        (['publish', 'cu.db'], Code.VALUES_INCOMPLETE, ['--check']),
        (['publish', 'cu.db', '-o', 'cu.yaml'], Code.FILE_SUFFIX, ['cu.yaml', '.json']),
    ],
)
def test_invalid_input_is_refused(run, arguments, code, values):
    export_dataset(Path('other.db'), make_rows(1, label_source='dft:vasp:pbe'))
    result = run('dataset', *arguments)
    assert result.exit_code == 2
    assert_refused(result.stderr, code, *values)


@pytest.mark.parametrize(
    'arguments',
    [
        ('merge', 'cu.db', '-o', 'out.extxyz'),
        ('convert', 'cu.db', '-o', 'out.extxyz'),
        ('split', 'cu.db', '-o', 'out.extxyz'),
        ('import', 'cu.db', '-o', 'out.extxyz'),
    ],
)
def test_each_command_that_writes_a_dataset_reports_what_the_format_does_not_store(run, arguments):
    result = run('dataset', *arguments)
    assert result.exit_code == 0
    assert '10 rows: provenance not stored' in ' '.join(result.stdout.split())
