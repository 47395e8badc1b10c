"""What cannot exist is refused by `config check`, in one sentence that names what can."""

import pytest
from ase.build import bulk, molecule
from ase.io import write

COPPER = 'of: {kind: alloy, composition: {Cu: 1}}'
SLAB = f'of: {{kind: surface, {COPPER}, miller_indices: [[1, 1, 1]], thickness_A: 6}}'
IMPOSSIBLE = {
    'oxidation states of a structure type': (
        'kind: ionic, prototype: rocksalt, sites: {A: Na, X: O}',
        'no oxidation states balance Na4O4 in rocksalt: the nearest, Na1+ O2-, leave -4 e',
    ),
    'oxidation states of a formula': (
        'kind: knowledge, formula: NaO3',
        'no oxidation states balance NaO3; Na2O is balanced, or give oxidation_states',
    ),
    'oxidation states that are given': (
        'kind: knowledge, formula: NaCl, oxidation_states: {Na: 2, Cl: -1}',
        'leaves +1 e; NaCl2 is balanced',
    ),
    'a composition': (
        'kind: alloy, composition: {Cu: 0.999, Au: 0.001}, validation: {max_atoms: 300}',
        'no cell of up to 300 atoms holds Cu 0.999 Au 0.001 within 0.02; the nearest is Cu 0.9967 Au 0.003333 in 300',
    ),
    'a composition in a given cell': (
        'kind: alloy, composition: {Cu: 0.6667, Au: 0.3333}, supercell: [1, 1, 1]',
        '4 sites cannot hold Cu 0.6667 Au 0.3333 within 0.02; the nearest is Cu 0.75 Au 0.25',
    ),
    'a composition of a grid that is not its first': (
        'kind: alloy, composition_grid: {elements: [Cu, Au], step: 0.125}, supercell: [1, 1, 1]',
        'cannot hold Cu 0.125 Au 0.875',
    ),
    'the composition of a sublattice': (
        'kind: ionic, prototype: fluorite, sites: {A: {Zr: 0.999, Y: 0.001}, X: O}, validation: {max_atoms: 200}',
        'the nearest is Zr 0.9844 Y 0.01562 in 192 atoms',
    ),
    'a cell as high as the calculator needs': (
        'kind: alloy, composition: {Cu: 0.5, Au: 0.5}, validation: {max_atoms: 20}',
        'a cell with a height of 10.00 Å takes 108 atoms; validation.max_atoms allows 20',
    ),
    'a Miller index': (
        f'kind: surface, {COPPER}, miller_indices: [[1, 1, 1], [0, 0, 0]]',
        'generation[0].miller_indices[1]: got [0, 0, 0]; the Miller index 0 0 0 is no plane; 0 0 1 is one',
    ),
    'a Σ': (
        f'kind: interface, {COPPER}, axes: [[0, 0, 1], [1, 1, 1]], sigmas: [5]',
        'there is no Σ5 about the axis 1 1 1 (up to Σ51); the nearest are 3, 7, 13',
    ),
    'an adsorbate': (
        f'kind: adsorption, {SLAB}, molecules: [C6H6], validation: {{max_atoms: 16}}',
        'C6H6 with 3 Å around it takes 8.0 Å, the slab is 2.2 Å wide; validation.max_atoms: 60 lets',
    ),
    'an adsorbate that is not the first': (
        f'kind: adsorption, {SLAB}, molecules: [O], files: [benzene.xyz], validation: {{max_atoms: 16, '
        'min_height_factor: 0}',
        'the slab is 2.2 Å wide; validation.max_atoms: 60 lets',
    ),
    'a volume of a scan that is not its first': (
        'kind: alloy, composition: {Cu: 1}, perturb: {volume_scan: [0.0, -0.8]}',
        'no valid seed of the alloy entry after 20 redraws: atoms',
    ),
    'a structure of a file that is not its first': (
        'kind: structures, files: [two.xyz]',
        'no valid seed of the structures entry after 20 redraws: atoms 0 (Cu) and 1 (Cu) are 0.500 Å apart',
    ),
    'a defect in a structure that is not the first': (
        'kind: defect, of: {kind: structures, files: [hosts.xyz]}, vacancies: {Au: 1}',
        'Au',
    ),
    'an adsorbate by name': (f'kind: adsorption, {SLAB}, molecules: [CO2x]', "did you mean 'CO2'?"),
}


@pytest.mark.parametrize(('entry', 'sentence'), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_cannot_exist_is_refused_in_a_sentence(run, empty_folder, entry, sentence):
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
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_size_named_for_an_adsorbate_suffices(run, empty_folder):
    (empty_folder / 'good.yaml').write_text(
        f'name: good\ncalculator: {{kind: lj}}\ngeneration:\n  - {{kind: adsorption, {SLAB}, molecules: [C6H6], '
        'validation: {max_atoms: 60, min_height_factor: 0}}\n'
    )
    assert run('config', 'check', 'good.yaml').exit_code == 0
