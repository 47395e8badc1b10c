"""``mlip-autopipe dataset import``, and the other commands for datasets with imported rows."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read
from support.errors import assert_refused
from support.foreign_files import crystals, full, write_extxyz, write_vasprun

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.sampling.pool.reference_dataset import label_sources, read_reference_dataset
from aiida_mlip_autopipe.storage import Dataset, Provenance, export_dataset, make_row
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory

LEVEL = '{method: dft, code: vasp, functional: PBE, cutoff_eV: 400}'


def write_mace_file(path, found):
    """Write structures with the keys that MACE reads."""
    return write_extxyz(
        path,
        [
            (
                atoms,
                {
                    'REF_energy': labels['energy'],
                    'REF_virials': full(-labels['stress'] * atoms.cell.volume),
                    'config_type': 'bulk',
                },
                {'REF_forces': labels['forces']},
            )
            for atoms, labels in found
        ],
    )


def write_gap_file(path, found):
    """Write structures with the keys that GAP reads."""
    return write_extxyz(
        path,
        [
            (
                atoms,
                {'energy': labels['energy'], 'virial': full(-labels['stress'] * atoms.cell.volume)},
                {'force': labels['forces']},
            )
            for atoms, labels in found
        ],
    )


def write_own_dataset(path, level):
    """Write a dataset of a campaign with labels at a level of theory."""
    rows = []
    for step, (atoms, labels) in enumerate(crystals(4, scale=1.02)):
        atoms.calc = SinglePointCalculator(atoms, **labels)
        provenance = Provenance(
            campaign='cu',
            random_seed=0,
            config_sha256='0' * 64,
            seed_id=f'seed{step}',
            exploration=f'uuid{step}',
            step=10,
            ensemble='nvt',
            architecture='emt',
            package_version='0.1.0',
            rank=step,
            label_source=level.name,
        )
        rows.append(make_row(atoms, provenance, {'kind': 'alloy', 'parent': f'parent{step}'}, level=level))
    export_dataset(path, rows)


@pytest.fixture
def files(empty_folder):
    write_mace_file(Path('mace.extxyz'), crystals(4))
    write_gap_file(Path('gap.xyz'), crystals(6, symbol='Au', scale=0.97))


def test_imported_files_are_merged_split_described_and_exported_with_the_dataset_of_a_campaign(run, files):
    imported = run(
        'dataset', 'import', 'mace.extxyz', 'gap.xyz', '-o', 'foreign.db', '--level', LEVEL, '--group-by', 'file'
    )
    assert imported.exit_code == 0, imported.stderr
    for value in (
        'energy from REF_energy',
        'virial from REF_virials',
        'forces from force',
        'dft:vasp:pbe-400eV',
        '10 rows',
    ):
        assert value in imported.stdout
    level = LevelOfTheory(
        method='dft', code='vasp', name='dft:vasp:pbe', parameters={'functional': 'PBE', 'cutoff_eV': 400}
    )
    write_own_dataset(Path('own.db'), level)
    merged = run('dataset', 'merge', 'own.db', 'foreign.db', '-o', 'all.db')
    assert (merged.exit_code, ' 14 ' in f' {merged.stdout}') == (0, True), merged.stderr
    info = json.loads(run('dataset', 'info', 'all.db', '--json').stdout)
    assert info['counts']['kinds'] == {'imported': 10, 'alloy': 4}
    assert info['counts']['compositions'] == {'Cu': 8, 'Au': 6}
    assert {origin['file']: origin['n_rows'] for origin in info['origins']} == {'mace.extxyz': 4, 'gap.xyz': 6, None: 4}
    assert run('dataset', 'report', 'all.db', '-o', 'all.html').exit_code == 0
    split = run('dataset', 'split', 'all.db', '-o', 'sets.extxyz', '--test-fraction', '0.3', '--valid-fraction', '0.3')
    assert split.exit_code == 0, split.stderr
    sets = {name: read(f'sets-{name}.extxyz', ':') for name in ('train', 'valid', 'test')}
    assert sum(map(len, sets.values())) == 14
    parents = [{atoms.info['parent'] for atoms in found} for found in sets.values()]
    assert len(set().union(*parents)) == sum(map(len, parents))
    by_kind = run('dataset', 'split', 'all.db', '-o', 'kinds.extxyz', '--hold-out', 'imported')
    assert by_kind.exit_code == 0, by_kind.stderr
    assert {atoms.info['kind'] for atoms in read('kinds-test.extxyz', ':')} == {'imported'}
    assert run('dataset', 'convert', 'foreign.db', '-o', 'foreign.extxyz').exit_code == 0
    for atoms, (_, labels) in zip(read('foreign.extxyz', '4:'), crystals(6, symbol='Au', scale=0.97), strict=True):
        assert atoms.get_potential_energy() == pytest.approx(labels['energy'], abs=1e-8)
        np.testing.assert_allclose(atoms.get_forces(), labels['forces'], atol=1e-8)
        np.testing.assert_allclose(atoms.get_stress(), labels['stress'], atol=1e-8)


def test_an_imported_dataset_is_a_reference_dataset(run, files):
    run('dataset', 'import', 'mace.extxyz', '-o', 'foreign.db', '--level', LEVEL)
    structures = read_reference_dataset(Path('foreign.db'))
    assert len(structures) == 4
    assert label_sources(structures) == ['dft:vasp:pbe-400eV']


def test_an_export_of_an_imported_dataset_is_imported_as_the_same_rows(run, files):
    run('dataset', 'import', 'mace.extxyz', '-o', 'foreign.db', '--level', LEVEL)
    run('dataset', 'convert', 'foreign.db', '-o', 'foreign.extxyz')
    without = run('dataset', 'import', 'foreign.extxyz', '-o', 'again.db')
    assert_refused(without.stderr, Code.LEVELS_MIXED, 'foreign.extxyz, frame 0', '--level')
    result = run('dataset', 'import', 'foreign.extxyz', '-o', 'again.db', '--level', 'foreign.db')
    assert result.exit_code == 0, result.stderr
    with Dataset(Path('foreign.db')) as first, Dataset(Path('again.db')) as second:
        before, after = list(first.query()), list(second.query())
    assert [row.identity for row in after] == [row.identity for row in before]
    assert [row.key_value_pairs for row in after] == [row.key_value_pairs for row in before]


def test_merge_refuses_a_different_level_and_names_the_field(run, files):
    run('dataset', 'import', 'mace.extxyz', '-o', 'a.db', '--level', LEVEL)
    run('dataset', 'import', 'gap.xyz', '-o', 'b.db', '--level', LEVEL.replace('400', '520'))
    result = run('dataset', 'merge', 'a.db', 'b.db', '-o', 'all.db')
    assert_refused(result.stderr, Code.LEVELS_MIXED, 'a.db', 'b.db', 'cutoff_eV', '400', '520')


def test_the_level_can_be_a_file_a_name_a_dataset_or_that_of_the_output(run, files):
    Path('level.yaml').write_text('method: dft\ncode: vasp\nfunctional: PBE\ncutoff_eV: 400\n')
    levels = []
    for name, level in (('a', 'level.yaml'), ('b', LEVEL), ('c', 'a.db'), ('d', 'dft:vasp:pbe')):
        result = run('dataset', 'import', 'mace.extxyz', '-o', f'{name}.db', '--level', level)
        assert result.exit_code == 0, result.stderr
        with Dataset(Path(f'{name}.db')) as dataset:
            levels.append(dataset.read(1).level_hash)
    assert levels[0] == levels[1] == levels[2] != levels[3]
    write_vasprun(Path('vasprun.xml'), crystals(2))
    result = run('dataset', 'import', 'vasprun.xml', '-o', 'e.db')
    assert (result.exit_code, 'dft:vasp:pbe-400eV' in result.stdout) == (0, True), result.stderr


@pytest.mark.usefixtures('files')
def test_frames_left_out_and_values_kept_are_printed(run):
    atoms, labels = crystals(1)[0]
    write_extxyz(Path('bad.extxyz'), [(atoms, {}, {'forces': labels['forces']})])
    write_mace_file(Path('same.extxyz'), crystals(1))
    files = ('mace.extxyz', 'bad.extxyz', 'same.extxyz')
    arguments = ('dataset', 'import', *files, '-o', 'a.db', '--level', LEVEL)
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert_refused(refused.stderr, Code.LABELS_MISSING, 'bad.extxyz, frame 0', 'energy')
    assert_refused(refused.stderr, Code.IMPORT_INCOMPLETE, '--skip-invalid')
    assert not Path('a.db').exists()
    result = run(*arguments, '--skip-invalid')
    assert result.exit_code == 0
    printed = ' '.join(result.stdout.split())
    assert all(
        value in printed
        for value in ('bad.extxyz, frame 0', 'labels_missing', '1 duplicate', 'config_type (5)', '4 rows')
    )


@pytest.mark.parametrize(
    ('arguments', 'code', 'values'),
    [
        (['missing.db'], Code.FILE_MISSING, ['missing.db']),
        (['mace.extxyz'], Code.VALUE_MISSING, ['level.method', '--level']),
        (['mace.extxyz', '--level', 'pbe'], Code.WRONG_PATTERN, ['--level', 'pbe']),
        (['mace.extxyz', '--level', '{method: dft'], Code.YAML_INVALID, ['--level']),
        (['mace.extxyz', '--level', 'missing.yaml'], Code.FILE_MISSING, ['missing.yaml']),
        (['mace.extxyz', '--level', LEVEL, '--energy-key', 'foo'], Code.LABELS_MISSING, ['foo', 'REF_energy']),
    ],
)
def test_invalid_input_is_refused(run, files, arguments, code, values):
    result = run('dataset', 'import', *arguments, '-o', 'a.db')
    assert result.exit_code == 2
    assert_refused(result.stderr, code, *values)
    assert not Path('a.db').exists()
