import gc
import json
import os
import re
import tracemalloc
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from rich.console import Console
from support.errors import assert_refused

from aiida_mlip_autopipe.config import load_config
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation import generate_seeds


def test_the_file_contains_the_seeds_and_their_records(run, campaign):
    result = run('generate', 'campaign.yaml', '-o', 'out.extxyz', 'random_seed=5')
    assert (result.exit_code, result.stderr) == (0, '')
    assert all(value in result.stdout for value in ('3 ', 'out.extxyz', 'out.report.json'))
    config = load_config('campaign.yaml')
    seeds = generate_seeds(config.generation, random_seed=5, cutoff_A=config.calculator.cutoff_A).seeds
    written = read('out.extxyz', ':')
    assert len(written) == len(seeds) == 3
    for atoms, seed in zip(written, seeds, strict=True):
        assert atoms.info['record'] == {'seed_id': seed.seed_id, **seed.record}
        np.testing.assert_allclose(atoms.positions, seed.atoms.positions, atol=1e-8)
        np.testing.assert_array_equal(atoms.numbers, seed.atoms.numbers)
        assert atoms.pbc.all()


def test_a_set_that_the_seeds_do_not_allow_is_reported(run, campaign):
    result = run('generate', 'campaign.yaml', 'sampling.test_fraction=0.05')
    assert result.exit_code == 0
    (warning,) = re.findall('sampling: .*', result.stdout)
    assert ' test ' in warning


def test_fixed_atoms_tags_and_magnetic_moments_are_in_the_file(run, empty_folder):
    from ase.build import fcc111
    from ase.constraints import FixAtoms
    from ase.io import write

    slab = fcc111('Cu', (2, 2, 3), vacuum=8)
    slab.set_constraint(FixAtoms([0, 1, 2, 3]))
    write('slab.traj', slab)
    (empty_folder / 'slab.yaml').write_text(
        'name: slab\ngeneration: [{kind: structures, files: [slab.traj], magnetic_moments: {Cu: 0.5}}]\n'
    )
    assert run('generate', 'slab.yaml').exit_code == 0
    atoms = read('initial_structures.extxyz')
    assert atoms.constraints[0].index.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(atoms.get_tags(), slab.get_tags())
    np.testing.assert_array_equal(atoms.get_initial_magnetic_moments(), [0.5] * 12)


@pytest.mark.parametrize('label', ['plain', 'a "quoted" \\ label', "it's {x} = [1]", '1234', 'é'])
def test_a_record_with_any_label_is_read_unchanged(run, campaign, label):
    campaign.write_text(campaign.read_text().replace('kind: alloy', f'kind: alloy, label: {json.dumps(label)}'))
    assert run('generate', 'campaign.yaml', 'generation[0].n_seeds=1').exit_code == 0
    assert read('initial_structures.extxyz').info['record']['label'] == label


def test_the_report_is_printed_and_written(run, campaign, empty_folder):
    crowded = [
        'n_atoms=32',
        'validation.cell=as_given',
        'validation.min_distance_factor=0.7',
        'perturb.rattle_A=0.23',
    ]
    result = run('generate', 'campaign.yaml', *(f'generation[0].{setting}' for setting in crowded))
    report = json.loads((empty_folder / 'initial_structures.report.json').read_text())
    assert report['made'] == report['requested'] == 3
    (rule,) = report['rules']
    count = report['rules'][rule]['count']
    assert count > 0
    row = next(line.split() for line in result.stdout.splitlines() if line.startswith(rule))
    assert row[:2] == [rule, str(count)]


def test_duplicates_are_reported(run, campaign):
    result = run(
        'generate',
        'campaign.yaml',
        'generation[0].composition={Cu: 1}',
        '~generation[0].composition.Au',
        '~generation[0].perturb',
    )
    assert result.exit_code == 0
    report, written = result.stdout.splitlines()
    assert [int(number) for number in re.findall(r'\d+', report)] == [0, 1, 3, 2]  # entry, made, requested, duplicates
    assert re.findall(r'\d+', written) == ['1']
    assert 'initial_structures.extxyz' in written


@pytest.mark.parametrize('existing', ['initial_structures.extxyz', 'initial_structures.report.json'])
def test_existing_files_are_overwritten_only_with_force(run, campaign, empty_folder, existing):
    (empty_folder / existing).write_text('mine')
    result = run('generate', 'campaign.yaml')
    assert result.exit_code == 2
    assert_refused(result.stderr, Code.FILE_EXISTS, existing, '--force')
    assert (empty_folder / existing).read_text() == 'mine'
    assert sorted(os.listdir()) == sorted(['campaign.yaml', existing])
    assert run('generate', 'campaign.yaml', '--force').exit_code == 0
    assert (empty_folder / existing).read_text() != 'mine'


def test_an_existing_file_is_unchanged_if_a_seed_cannot_be_generated(run, campaign, empty_folder):
    (empty_folder / 'initial_structures.extxyz').write_text('mine')
    result = run('generate', 'campaign.yaml', '--force', 'generation[0].perturb.rattle_A=2')
    assert result.exit_code == 2
    assert_refused(result.stderr, Code.STRUCTURE_INVALID, 'generation[0]')
    assert (empty_folder / 'initial_structures.extxyz').read_text() == 'mine'
    assert sorted(os.listdir()) == ['campaign.yaml', 'initial_structures.extxyz']


ALLOYS = [
    f'{{kind: alloy, composition: {{{first}: 0.5, {second}: 0.5}}, lattice: {lattice}, n_atoms: 16, n_seeds: 2, '
    f'validation: {{cell: as_given}}, perturb: {{rattle_A: 0.05}}}}'
    for first, second, lattice in [
        ('Cu', 'Au', 'fcc'), ('Ni', 'Pd', 'fcc'), ('Fe', 'Cr', 'bcc'), ('Ti', 'Zr', 'hcp'), ('Al', 'Mg', 'fcc'),
        ('Si', 'Ge', 'diamond'), ('Nb', 'Ta', 'bcc'), ('Ag', 'Pt', 'fcc'),
    ]
]  # fmt: skip
ANY_WIDTH = 'validation: {cell: as_given}'
TWENTY = [
    *ALLOYS,
    f'{{kind: alloy, composition: {{Cu: 0.75, Au: 0.25}}, arrangement: L1_2, {ANY_WIDTH}}}',
    f'{{kind: alloy, composition_grid: {{elements: [Ni, Al], step: 0.5}}, n_atoms: 8, {ANY_WIDTH}}}',
    f'{{kind: ionic, prototype: rocksalt, sites: {{A: Na, X: Cl}}, {ANY_WIDTH}}}',
    f'{{kind: ionic, prototype: fluorite, sites: {{A: Ca, X: F}}, {ANY_WIDTH}}}',
    f'{{kind: ionic, prototype: perovskite, sites: {{A: Sr, B: Ti, X: O}}, {ANY_WIDTH}, perturb: {{shear: 0.02}}}}',
    f'{{kind: covalent, structure: diamond, sites: {{A: C}}, {ANY_WIDTH}}}',
    f'{{kind: covalent, structure: zincblende, sites: {{A: Ga, X: As}}, {ANY_WIDTH}}}',
    f'{{kind: defect, of: {{kind: alloy, composition: {{Al: 1}}}}, vacancies: {{Al: 1}}, n_seeds: 1, {ANY_WIDTH}}}',
    f'{{kind: surface, of: {{kind: alloy, composition: {{Cu: 1}}}}, miller_indices: [[1, 1, 1]], {ANY_WIDTH}}}',
    f'{{kind: grain_boundary, of: {{kind: alloy, composition: {{Cu: 1}}}}, characters: [twist], {ANY_WIDTH}}}',
    '{kind: structures, files: [ne.xyz], n_seeds: 3}',
    '{kind: alloy, label: crowded, composition: {Fe: 1}, lattice: bcc, n_atoms: 16, n_seeds: 10, '
    'perturb: {rattle_A: 0.12}, validation: {cell: as_given, min_distance_factor: 0.78}}',
]


@pytest.fixture
def twenty(empty_folder):
    """Write the config of a campaign with twenty entries of seven kinds, and return its name."""
    from ase.build import bulk

    bulk('Ne', 'fcc', a=4.46).write('ne.xyz')
    assert len(TWENTY) == 20
    lines = ['name: twenty', 'calculator: {kind: lj}', 'generation:', *(f'  - {entry}' for entry in TWENTY)]
    (empty_folder / 'twenty.yaml').write_text('\n'.join(lines) + '\n')
    return 'twenty.yaml'


def test_a_campaign_of_twenty_entries_shows_its_progress_and_the_rejected_seeds(run, twenty, monkeypatch):
    terminal = Console(file=StringIO(), force_terminal=True, width=100)
    monkeypatch.setattr('aiida_mlip_autopipe.cli.console.error_console', terminal)
    result = run('generate', twenty)
    assert result.exit_code == 0, terminal.file.getvalue()
    report = json.loads(Path('initial_structures.report.json').read_text())
    written = read('initial_structures.extxyz', ':')
    assert len(written) == report['made'] == report['requested'] - report['duplicates']
    assert report['duplicates'] == 2
    records = [atoms.info['record'] for atoms in written]
    kinds = ['alloy', 'covalent', 'defect', 'grain_boundary', 'ionic', 'structures', 'surface']
    assert sorted({record['kind'] for record in records}) == kinds
    assert all({'seed_id', 'parent'} <= record.keys() for record in records)
    assert len({record['seed_id'] for record in records}) == len(records)
    assert sum(record.get('label') == 'crowded' for record in records) == 10
    worst = report['rules']['min_distance']
    assert worst['count'] > 0
    assert worst['worst']['value'] < worst['worst']['limit']
    (row,) = [line for line in result.stdout.splitlines() if line.startswith('min_distance')]
    assert str(worst['count']) in row.split()
    assert worst['worst']['message'] in row
    last = result.stdout.splitlines()[-1]
    assert f' {report["made"]} ' in last
    assert 'initial_structures.extxyz' in last
    assert f'/{report["requested"]}' in terminal.file.getvalue()


@pytest.mark.integration
def test_memory_does_not_grow_with_the_number_of_seeds(run, empty_folder):
    def peak_kB(n_seeds: int) -> float:
        entry = (
            f'kind: alloy, composition: {{Cu: 1}}, n_atoms: 4, n_seeds: {n_seeds}, '
            f'perturb: {{rattle_A: 0.02}}, {ANY_WIDTH}'
        )
        Path('many.yaml').write_text(f'name: many\ngeneration: [{{{entry}}}]\n')
        gc.collect()
        tracemalloc.start()
        result = run('generate', 'many.yaml', '--force', '--processes', '1')
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert result.exit_code == 0
        return peak / 1000

    peak_kB(100)  # imports and caches
    assert peak_kB(100) - peak_kB(10) < 20  # a seed takes 3 kB


@pytest.mark.integration
def test_the_output_does_not_depend_on_the_number_of_processes(run, twenty, monkeypatch):
    monkeypatch.setattr('aiida_mlip_autopipe.generation.processes.PATIENCE_S', 0.0)
    for count in ('1', '2'):
        assert run('generate', twenty, '-o', f'{count}.extxyz', '--processes', count).exit_code == 0
    for suffix in ('extxyz', 'report.json'):
        assert Path(f'1.{suffix}').read_bytes() == Path(f'2.{suffix}').read_bytes()


def test_an_impossible_last_entry_is_reported_before_any_seed_is_generated(run, empty_folder, monkeypatch):
    monkeypatch.setattr('aiida_mlip_autopipe.generation.iterate_seeds_in_processes', None)
    Path('bad.yaml').write_text(
        f'name: bad\ngeneration:\n  - {ALLOYS[0]}\n  - {{kind: ionic, prototype: rocksalt, sites: {{A: Na, X: O}}}}\n'
    )
    result = run('generate', 'bad.yaml')
    assert result.exit_code == 2
    assert_refused(result.stderr, Code.CHARGE_UNBALANCED, 'generation[1]: ', 'Na4O4', 'rocksalt')


TWO_CODES = 'execution.codes=[{code: a@here}, {code: b@here, calculator: {kind: lj, cutoff_A: 9}}]'


def test_seeds_are_generated_for_the_largest_cutoff_of_the_codes(run, campaign):
    assert run('generate', 'campaign.yaml', TWO_CODES).exit_code == 0
    config = load_config('campaign.yaml')
    seeds = generate_seeds(config.generation, random_seed=0, cutoff_A=9.0).seeds
    written = read('initial_structures.extxyz', ':')
    assert [len(atoms) for atoms in written] == [len(seed.atoms) for seed in seeds]
    assert len(written[0]) > len(generate_seeds(config.generation, random_seed=0, cutoff_A=6.6).seeds[0].atoms)


@pytest.mark.parametrize('command', ['generate', 'config check'])
def test_cells_too_small_for_the_largest_cutoff_are_refused_before_generation(run, campaign, monkeypatch, command):
    monkeypatch.setattr('aiida_mlip_autopipe.generation.iterate_seeds_in_processes', None)
    # 15.4 Å is more than twice the cutoff of EMT, but less than twice that of the second code.
    small = 'generation[0].supercell=[4,4,4]'
    assert run('config', 'check', 'campaign.yaml', small).exit_code == 0
    result = run(*command.split(), 'campaign.yaml', small, TWO_CODES)
    assert result.exit_code == 2
    assert_refused(result.stderr, Code.STRUCTURE_INVALID, 'generation[0]', '18.00 Å')
