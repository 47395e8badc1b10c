import json
from pathlib import Path

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset, Provenance, export_dataset, make_row


def make_rows(n_lineages, **fields):
    rows = []
    for lineage in range(n_lineages):
        atoms = bulk('Cu', cubic=True)
        atoms.rattle(0.1, seed=lineage)
        atoms.calc = EMT()
        results = {name: atoms.calc.get_property(name, atoms) for name in ('energy', 'forces', 'stress')}
        atoms.calc = SinglePointCalculator(atoms, **results)
        provenance = Provenance(
            **{
                'campaign': 'cu',
                'random_seed': 0,
                'config_sha256': '0' * 64,
                'seed_id': f'seed{lineage}',
                'exploration': 'uuid',
                'step': 10 * lineage,
                'ensemble': 'nvt',
                'architecture': 'emt',
                'package_version': '0.1.0',
                'rank': lineage,
            }
            | fields
        )
        rows.append(make_row(atoms, provenance, {'kind': 'alloy', 'ancestor': f'ancestor{lineage}'}))
    return rows


def assert_refused(result, code, *values):
    """Assert that a line of the messages has a code and these values."""
    lines = [line for line in result.stderr.splitlines() if f'[{code}]' in line]
    assert any(all(value in line for value in values) for line in lines), result.stderr


@pytest.fixture(autouse=True)
def dataset(empty_folder):
    export_dataset(Path('cu.db'), make_rows(10))


def test_info_prints_what_a_dataset_holds(run):
    result = run('dataset', 'info', 'cu.db')
    assert result.exit_code == 0
    assert result.stdout.startswith('# cu\n\n10 structures, 40 atoms.\n')
    assert '- level of theory: mlip:emt (10)' in result.stdout


def test_info_gives_its_numbers_to_other_programs(run):
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
    assert run('dataset', 'info', 'cu.db', '--json', '--card', 'cu.md').exit_code == 2
    missing = run('dataset', 'info', 'gone.db', '--json')
    assert (missing.exit_code, missing.stdout) == (2, '')


def test_info_writes_a_card_with_the_config(run, campaign):
    result = run('dataset', 'info', 'cu.db', '--card', 'cu.md', '--config', 'campaign.yaml')
    assert result.exit_code == 0
    assert campaign.read_text().strip() in Path('cu.md').read_text()
    assert json.loads(Path('cu.json').read_text())['n_rows'] == 10


def test_report_writes_a_page_and_its_numbers(run):
    result = run('dataset', 'report', 'cu.db', '-o', 'cu.html')
    assert result.stdout == '✓ the report card of 10 rows in cu.html\n'
    assert '<h1>cu</h1>' in Path('cu.html').read_text()
    assert json.loads(Path('cu.json').read_text())['dataset']['n_rows'] == 10


def test_split_writes_three_files_and_says_what_is_in_them(run):
    result = run('dataset', 'split', 'cu.db', '-o', 'sets.extxyz', '--test-share', '0.2')
    assert result.stdout.splitlines() == [
        '✓ 7 rows of 7 groups in sets-train.extxyz',
        '✓ 1 rows of 1 groups in sets-valid.extxyz',
        '✓ 2 rows of 2 groups in sets-test.extxyz',
    ]
    assert {atoms.info['split'] for atoms in read('sets-test.extxyz', ':')} == {'test'}


def test_split_writes_a_config_for_each_trainer_asked_for(run):
    result = run('dataset', 'split', 'cu.db', '-o', 'sets.extxyz', '--trainer', 'mace', '--trainer', 'sevennet')
    assert result.stdout.splitlines()[-2:] == [
        '✓ config of mace in sets-mace.yaml',
        '✓ config of sevennet in sets-sevennet.yaml',
    ]
    assert 'train_file: sets-train.extxyz' in Path('sets-mace.yaml').read_text()


def test_split_takes_the_sets_drawn_before_the_selection(run):
    rows = [*make_rows(6, split='train'), *make_rows(10, split='test')[6:]]
    export_dataset(Path('cu.db'), rows, overwrite=True)
    result = run('dataset', 'split', 'cu.db')
    assert result.stdout.splitlines() == [
        '✓ 6 rows of 6 groups in cu-train.db',
        '✓ 4 rows of 4 groups in cu-test.db',
    ]
    assert run('dataset', 'split', 'cu.db', '--by', 'ancestor', '--force').stdout.startswith('✓ 8 rows of 8 groups')


def test_merge_and_convert_write_the_format_of_the_suffix(run):
    export_dataset(Path('more.db'), make_rows(12))
    assert run('dataset', 'merge', 'cu.db', 'more.db', '-o', 'all.db').stdout == '✓ 12 rows in all.db\n'
    result = run('dataset', 'convert', 'all.db', '-o', 'some.extxyz', '--select', 'step>=100')
    assert result.stdout == '✓ 2 rows in some.extxyz\n'
    assert [atoms.info['step'] for atoms in read('some.extxyz', ':')] == [100, 110]


def test_a_database_is_converted_to_a_database(run):
    result = run('dataset', 'convert', 'cu.db', '-o', 'some.db', '--select', 'step>=70')
    assert result.stdout == '✓ 3 rows in some.db\n'
    with Dataset(Path('some.db')) as dataset:
        assert [row.provenance.step for row in dataset.query()] == [70, 80, 90]


def test_inputs_for_a_dft_code_are_written_and_missing_calculations_are_reported_by_row(run):
    Path('dft.yaml').write_text('code: vasp\nlabel_source: dft:vasp:pbe\nincar: {ENCUT: 400}\n')
    result = run('dataset', 'dft-inputs', 'cu.db', '-o', 'runs', '--settings', 'dft.yaml', '--select', 'step<20')
    assert result.stdout.startswith('✓ inputs of vasp for 2 rows in runs\n')
    assert Path('runs/seed-seed1_10/INCAR').is_file()
    result = run('dataset', 'label-from', 'runs', 'cu.db', '-o', 'dft.db')
    assert result.exit_code == 2
    for places in (['runs/seed-seed0_0', 'vasprun.xml'], ['step 90 of seed-seed9', 'runs']):
        assert_refused(result, Code.CALCULATION_MISSING, *places)
    assert_refused(result, Code.LABELS_INCOMPLETE, '--skip-failed')
    result = run('dataset', 'label-from', 'runs', 'cu.db', '-o', 'dft.db', '--skip-failed')
    assert_refused(result, Code.DATASET_EMPTY, 'dft.db')
    assert_refused(result, Code.CALCULATION_MISSING, 'runs/seed-seed0_0', 'vasprun.xml')
    assert not Path('dft.db').exists()


def test_diff_names_the_rows_and_its_exit_status_says_whether_there_are_any(run):
    export_dataset(Path('more.db'), make_rows(11))
    result = run('dataset', 'diff', 'cu.db', 'more.db')
    assert result.exit_code == 1
    assert result.stdout.splitlines() == ['10 rows are the same', 'only in the second: seed-seed10 step 100 mlip:emt']
    assert run('dataset', 'diff', 'cu.db', 'cu.db').exit_code == 0


@pytest.mark.parametrize(
    ('arguments', 'code', 'values'),
    [
        (['info', 'no.db'], Code.FILE_MISSING, ['no.db']),
        (['info', 'cu.db', '--card', 'cu.md', '--config', 'no.yaml'], Code.FILE_MISSING, ['no.yaml']),
        (['split', 'cu.db', '--test-share', '1.5'], Code.VALUE_INVALID, ['test_share: ', '1']),
        (['split', 'cu.db', '--hold-out', 'surface'], Code.SPLIT_EMPTY, ['surface', 'alloy']),
        (['split', 'cu.db', '--trainer', 'mace'], Code.FILE_SUFFIX, ['--output', '.extxyz', 'cu.db']),
        (['split', 'cu.db', '--by', 'stored'], Code.ROW_KEY_MISSING, ['row 0', 'split']),
        (['convert', 'cu.db', '-o', 'cu.csv'], Code.FILE_SUFFIX, ['cu.csv', '.extxyz']),
        (['convert', 'cu.db', '-o', 'cu.db'], Code.FILE_EXISTS, ['cu.db']),
        (['merge', 'cu.db', 'other.db', '-o', 'all.db'], Code.LEVELS_MIXED, ['dft:vasp:pbe, mlip:emt']),
    ],
)
def test_invalid_input_is_refused(run, arguments, code, values):
    export_dataset(Path('other.db'), make_rows(1, label_source='dft:vasp:pbe'))
    result = run('dataset', *arguments)
    assert result.exit_code == 2
    assert_refused(result, code, *values)
    assert 'Traceback' not in result.stderr
