"""`config check` refuses impossible entries, and names the nearest possible values."""

import pytest
from ase.build import bulk, molecule
from ase.io import write
from support.errors import assert_refused

from aiida_mlip_autopipe.core.codes import Code

COPPER = 'of: {kind: alloy, composition: {Cu: 1}}'
SLAB = f'of: {{kind: surface, {COPPER}, miller_indices: [[1, 1, 1]], thickness_A: 6}}'
IMPOSSIBLE = {
    'oxidation states of a structure type': (
        'kind: ionic, prototype: rocksalt, sites: {A: Na, X: O}',
        Code.CHARGE_UNBALANCED,
        ['Na4O4', 'rocksalt', 'Na1+ O2-', '-4 e'],
    ),
    'oxidation states of a formula': (
        'kind: formula, formula: NaO3',
        Code.CHARGE_UNBALANCED,
        ['NaO3', 'Na2O', 'oxidation_states'],
    ),
    'oxidation states in the config': (
        'kind: formula, formula: NaCl, oxidation_states: {Na: 2, Cl: -1}',
        Code.CHARGE_UNBALANCED,
        ['+1 e', 'NaCl2'],
    ),
    'a composition': (
        'kind: alloy, composition: {Cu: 0.999, Au: 0.001}, validation: {max_atoms: 300}',
        Code.COMPOSITION_IMPOSSIBLE,
        ['300 atoms', 'Cu 0.999 Au 0.001', '0.02', 'Cu 0.9967 Au 0.003333'],
    ),
    'a composition in a supercell of the config': (
        'kind: alloy, composition: {Cu: 0.6667, Au: 0.3333}, supercell: [1, 1, 1]',
        Code.COMPOSITION_IMPOSSIBLE,
        ['4 sites', 'Cu 0.6667 Au 0.3333', '0.02', 'Cu 0.75 Au 0.25'],
    ),
    'a composition of a grid that is not the first': (
        'kind: alloy, composition_grid: {elements: [Cu, Au], step: 0.125}, supercell: [1, 1, 1]',
        Code.COMPOSITION_IMPOSSIBLE,
        ['Cu 0.125 Au 0.875'],
    ),
    'the composition of a sublattice': (
        'kind: ionic, prototype: fluorite, sites: {A: {Zr: 0.999, Y: 0.001}, X: O}, validation: {max_atoms: 200}',
        Code.COMPOSITION_IMPOSSIBLE,
        ['Zr 0.9844 Y 0.01562', '192 atoms'],
    ),
    'a cell as wide as the calculator requires': (
        'kind: alloy, composition: {Cu: 0.5, Au: 0.5}, validation: {max_atoms: 20}',
        Code.STRUCTURE_INVALID,
        ['10.00 Å', '108 atoms', 'validation.max_atoms', '20'],
    ),
    'a Miller index': (
        f'kind: surface, {COPPER}, miller_indices: [[1, 1, 1], [0, 0, 0]]',
        Code.VALUE_INVALID,
        ['generation[0].miller_indices[1]: ', '[0, 0, 0]', '0 0 1'],
    ),
    'a Σ': (
        f'kind: grain_boundary, {COPPER}, axes: [[0, 0, 1], [1, 1, 1]], sigmas: [5]',
        Code.BOUNDARY_IMPOSSIBLE,
        ['Σ5', '1 1 1', 'Σ51', '3, 7, 13'],
    ),
    'an adsorbate': (
        f'kind: adsorption, {SLAB}, molecules: [C6H6], validation: {{max_atoms: 16}}',
        Code.CELL_TOO_SMALL,
        ['C6H6', '3 Å', '8.0 Å', '2.2 Å', 'validation.max_atoms: 60'],
    ),
    'an adsorbate that is not the first': (
        f'kind: adsorption, {SLAB}, molecules: [O], files: [benzene.xyz], validation: {{max_atoms: 16, '
        'cell: as_given}',
        Code.CELL_TOO_SMALL,
        ['2.2 Å', 'validation.max_atoms: 60'],
    ),
    'a volume of a scan that is not the first': (
        'kind: alloy, composition: {Cu: 1}, perturb: {volume_scan: [0.0, -0.8]}',
        Code.STRUCTURE_INVALID,
        ['alloy', '20 redraws', 'atoms '],
    ),
    'a structure in a file that is not the first': (
        'kind: structures, files: [two.xyz]',
        Code.STRUCTURE_INVALID,
        ['structures', '20 redraws', '0 (Cu)', '1 (Cu)', '0.500 Å'],
    ),
    'a defect in a structure that is not the first': (
        'kind: defect, of: {kind: structures, files: [hosts.xyz]}, vacancies: {Au: 1}',
        Code.TOO_MANY_DEFECTS,
        ['Au'],
    ),
    'an adsorbate by name': (f'kind: adsorption, {SLAB}, molecules: [CO2x]', Code.MOLECULE_UNKNOWN, ["'CO2'"]),
}


@pytest.mark.parametrize(('entry', 'code', 'values'), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_an_impossible_entry_is_refused_on_one_line(run, empty_folder, entry, code, values):
    molecule('C6H6').write('benzene.xyz')
    copper, close = bulk('Cu', cubic=True), bulk('Cu', cubic=True)
    close.positions[1] = close.positions[0] + [0.5, 0, 0]
    write('two.xyz', [copper, close], format='extxyz')
    write('hosts.xyz', [bulk('Au', cubic=True), copper], format='extxyz')
    (empty_folder / 'bad.yaml').write_text(
        f'name: bad\ncalculator: {{kind: lj, cutoff_A: 5}}\ngeneration:\n  - {{{entry}}}\n'
    )
    result = run('config', 'check', 'bad.yaml')
    assert result.exit_code == 2, result.stdout
    assert result.stderr.startswith('generation[0]')
    assert_refused(result.stderr, code, *values)
    assert len(result.stderr.splitlines()) == 1


def test_the_cell_size_proposed_for_an_adsorbate_is_sufficient(run, empty_folder):
    (empty_folder / 'good.yaml').write_text(
        f'name: good\ncalculator: {{kind: lj}}\ngeneration:\n  - {{kind: adsorption, {SLAB}, molecules: [C6H6], '
        'validation: {max_atoms: 60, cell: as_given}}\n'
    )
    assert run('config', 'check', 'good.yaml').exit_code == 0
