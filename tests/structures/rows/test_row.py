import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Row, make_row
from aiida_mlip_autopipe.structures.rows.row import was_changed


def test_a_row_contains_its_provenance_and_its_seed(slab, make_provenance):
    provenance = make_provenance(campaign='2026', distance=0.25)
    row = make_row(slab, provenance, {'kind': 'alloy', 'parent': '77', 'lattice': 'fcc'})
    assert row.provenance == provenance
    assert row.data['seed'] == {'kind': 'alloy', 'parent': '77', 'lattice': 'fcc'}
    assert row.key_value_pairs['kind'] == 'alloy'
    assert row.key_value_pairs['parent'] == '_77'
    assert row.key_value_pairs['campaign'] == '_2026'
    assert row.key_value_pairs['label_source'] == 'mlip:emt'


def test_a_row_does_not_change_when_the_frame_does(slab, make_provenance):
    row = make_row(slab, make_provenance(), {})
    energy, x = row.atoms.get_potential_energy(), row.atoms.positions[0, 0]
    slab.calc.results['forces'][:] = 0.0
    slab.positions += 1.0
    assert row.atoms.get_potential_energy() == energy
    assert row.atoms.positions[0, 0] == x
    assert row.atoms.calc.results['forces'].any()


@pytest.mark.parametrize('name', ['energy', 'forces'])
def test_a_frame_without_a_label_is_refused(slab, make_provenance, name):
    del slab.calc.results[name]
    with refused(Code.LABELS_MISSING, 'step 120', '1234567890123456', f' {name}'):
        make_row(slab, make_provenance(), {})


def test_a_frame_without_a_calculator_is_refused_and_nothing_is_computed(slab, make_provenance):
    slab.calc = None
    with refused(Code.LABELS_MISSING, 'energy'):
        make_row(slab, make_provenance(), {})
    slab.calc = EMT()
    with refused(Code.LABELS_MISSING, 'energy'):
        make_row(slab, make_provenance(), {})


@pytest.mark.parametrize('name', ['energy', 'forces', 'stress'])
def test_a_label_that_is_not_finite_is_refused(slab, make_provenance, name):
    slab.calc.results[name] = np.full_like(slab.calc.results[name], np.nan)
    with refused(Code.LABELS_MISSING, f' {name}'):
        make_row(slab, make_provenance(), {})


def test_positions_that_are_not_finite_are_refused(slab, make_provenance):
    slab.positions[0, 0] = np.inf
    with refused(Code.LABELS_MISSING, 'positions'):
        make_row(slab, make_provenance(), {})


def test_missing_labels_and_labels_of_another_structure_are_refused(slab, make_provenance):
    row = make_row(slab, make_provenance(), {})
    row.atoms.rattle(1e-6)
    with refused(Code.LABELS_OUTDATED):
        _ = row.labels
    with refused(Code.LABELS_MISSING, 'row 3'):
        _ = Row(slab.copy(), id=3).labels


def test_a_row_needs_no_stress(slab, make_provenance):
    del slab.calc.results['stress']
    assert 'stress' not in make_row(slab, make_provenance(), {}).atoms.calc.results


@pytest.mark.parametrize('formula', ['Cu3Au', 'C2H6', 'H2O2', 'H8C4O2', 'Na4Cl4', 'Au'])
def test_the_empirical_formula_is_that_of_ase(formula):
    atoms = Atoms(formula)
    assert Row(atoms).empirical_formula == str(atoms.symbols.formula.reduce()[0].format('hill'))


@pytest.mark.parametrize('change', ['positions', 'cell', 'pbc', 'numbers', 'initial_magmoms', 'tags'])
def test_each_change_to_the_structure_except_to_its_tags_outdates_the_labels(slab, make_provenance, change):
    atoms = make_row(slab, make_provenance(), {}).atoms
    assert not was_changed(atoms)
    if change == 'cell':
        atoms.cell[0, 0] += 0.1
    elif change == 'pbc':
        atoms.pbc = (True, True, False)
    else:
        atoms.arrays[change] = atoms.arrays[change] + 1
    assert was_changed(atoms) == (change != 'tags')
