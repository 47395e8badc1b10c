from __future__ import annotations

import sys
from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.data.vdw_alvarez import vdw_radii
from ase.neighborlist import neighbor_list
from ase.units import _amu, _Nav
from scipy import stats
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import PhysicsViolationError
from aiida_mlip_autopipe.generation.chemistry.smiles import molecule_from_smiles
from aiida_mlip_autopipe.generation.contacts import check_contacts, van_der_waals_radii
from aiida_mlip_autopipe.structures.seed import is_amorphous

WATER = {'kind': 'molecular', 'molecules': [{'name': 'H2O'}], 'density_g_per_cm3': 1.0}
SALT = [{'name': 'Na', 'charge': 1}, {'name': 'Cl', 'charge': -1}]


def liquid(*molecules: dict, density: float | None = 1.0, **fields) -> dict:
    entry = {'kind': 'molecular', 'molecules': list(molecules), 'n_seeds': 1, **fields}
    return entry | ({'density_g_per_cm3': density} if density else {})


def density(atoms: Atoms) -> float:
    return float(atoms.get_masses().sum() * _amu * 1e3 / (atoms.get_volume() * 1e-24))


def members(atoms: Atoms) -> list[np.ndarray]:
    """Return the indices of the atoms of each molecule."""
    tags = atoms.get_tags()
    return [np.flatnonzero(tags == tag) for tag in np.unique(tags)]


def assert_whole(atoms: Atoms, *expected: Atoms) -> None:
    """Check each molecule against the molecule of the same formula, with the distances to the nearest image."""
    shapes = {str(one.symbols): one.get_all_distances() for one in expected}
    distances = atoms.get_all_distances(mic=True)
    for group in members(atoms):
        shape = shapes[str(atoms.symbols[group])]
        np.testing.assert_allclose(distances[np.ix_(group, group)], shape, rtol=0, atol=1e-8)


def smallest_contact(atoms: Atoms) -> float:
    """Return the smallest distance between molecules, divided by the sum of Alvarez's radii."""
    first, second, distances, shifts = neighbor_list('ijdS', atoms, 5.0)
    apart = (atoms.get_tags()[first] != atoms.get_tags()[second]) | shifts.any(axis=1)
    radii = vdw_radii[atoms.numbers]
    return float((distances / (radii[first] + radii[second]))[apart].min())


@pytest.mark.parametrize(
    ('name', 'value', 'number'), [('H2O', 1.0, 64), ('CH3CH2OH', 0.789, 50), ('Ar', 1.40, 108), ('C6H6', 0.876, 32)]
)
def test_liquids_reach_their_density_with_whole_molecules_that_do_not_touch(generate, name, value, number):
    (seed,) = generate(liquid({'name': name}, density=value, n_molecules=number)).seeds
    atoms = seed.atoms
    assert density(atoms) == pytest.approx(value, rel=1e-6)
    assert seed.record['density_g_per_cm3'] == pytest.approx(value, rel=1e-6)
    assert len(members(atoms)) == number
    assert_whole(atoms, Atoms(name) if name == 'Ar' else molecule(name))
    assert 0.75 <= smallest_contact(atoms) < 0.8
    assert (np.ptp(atoms.get_scaled_positions(wrap=False), axis=0) < 1.6).all()


def test_the_default_number_of_molecules_is_the_smallest_for_the_calculator(generate):
    (seed,) = generate({**WATER, 'n_seeds': 1}, cutoff_A=6.0).seeds
    number, width = len(members(seed.atoms)), seed.atoms.cell.lengths().min()
    assert width >= 12 > width * ((number - 1) / number) ** (1 / 3)
    assert number == 58  # 12³ Å³ at 29.9 Å³ for each molecule
    assert len(members(generate({**WATER, 'n_seeds': 1}).seeds[0].atoms)) == 32


def test_the_record_and_the_tags_identify_the_molecules(generate):
    (seed,) = generate(liquid({'name': 'CH3OH', 'count': 5}, {'name': 'H2O', 'count': 30})).seeds
    assert seed.record['molecular'] is True
    assert is_amorphous(seed.record)
    found = [(one['molecule'], one['count'], one['charge']) for one in seed.record['molecules']]
    assert found == [('CH3OH', 5, 0), ('H2O', 30, 0)]
    groups = members(seed.atoms)
    assert seed.atoms.get_tags().tolist() == [n for n, group in enumerate(groups, start=1) for _ in group]
    assert Counter(str(seed.atoms.symbols[group]) for group in groups) == {
        str(molecule('CH3OH').symbols): 5, 'OH2': 30
    }  # fmt: skip


def test_a_molecule_without_a_fraction_gets_the_rest(generate):
    (seed,) = generate(liquid({'name': 'CH3OH', 'fraction': 0.25}, {'name': 'H2O'}, n_molecules=40)).seeds
    assert [one['count'] for one in seed.record['molecules']] == [10, 30]


def test_a_concentration_fixes_the_number_of_ions_at_the_density(generate):
    ions = [{**ion, 'concentration_mol_per_L': 1.0} for ion in SALT]
    (seed,) = generate(liquid(*ions, {'name': 'H2O'}, density=1.04)).seeds
    atoms = seed.atoms
    assert density(atoms) == pytest.approx(1.04, rel=1e-6)
    sodium = np.sum(atoms.symbols == 'Na')
    assert sodium == np.sum(atoms.symbols == 'Cl')
    litres = atoms.get_volume() * 1e-27
    assert sodium / _Nav / litres == pytest.approx(1.0, rel=0.1)
    assert seed.record['molecules'][0]['concentration_mol_per_L'] == pytest.approx(sodium / _Nav / litres, rel=1e-6)
    assert atoms.get_initial_charges().sum() == 0
    assert atoms.get_initial_charges()[atoms.symbols == 'Cl'].tolist() == [-1] * sodium


def test_the_concentrations_of_a_gas_determine_its_density(generate):
    gas = [{'name': 'N2', 'concentration_mol_per_L': 0.8}, {'name': 'Li', 'concentration_mol_per_L': 0.2}]
    (seed,) = generate(liquid(*gas, density=None, n_molecules=150)).seeds
    assert 150 / _Nav / (seed.atoms.get_volume() * 1e-27) == pytest.approx(1.0, rel=1e-6)
    assert_whole(seed.atoms, molecule('N2'), Atoms('Li'))


def test_a_box_has_the_edges_that_were_set(generate):
    entry = liquid({'name': 'H2O', 'count': 60}, density=None, box_A=[10.0, 12.0, 20.0])
    (seed,) = generate(entry).seeds
    assert seed.atoms.cell.lengths() == pytest.approx([10, 12, 20])
    assert_whole(seed.atoms, molecule('H2O'))


def test_molecules_are_spread_uniformly_and_oriented_isotropically(generate):
    seeds = generate({**WATER, 'n_seeds': 12}).seeds
    places, axes = [], []
    for seed in seeds:
        for group in members(seed.atoms):
            oxygen, *hydrogen = seed.atoms.positions[group]
            masses = seed.atoms.get_masses()[group]
            places.append(masses @ seed.atoms.get_scaled_positions(wrap=False)[group] / masses.sum() % 1)
            axes.append(oxygen - np.mean(hydrogen, axis=0))
    axes /= np.linalg.norm(axes, axis=1)[:, None]
    for axis in range(3):
        assert stats.kstest(np.array(places)[:, axis], 'uniform').pvalue > 0.01
        # The components of a random unit vector are uniform between -1 and 1 (Archimedes).
        assert stats.kstest(axes[:, axis], stats.uniform(-1, 2).cdf).pvalue > 0.01


def test_seeds_are_reproducible_and_depend_on_the_random_seed(generate):
    entry = {**WATER, 'n_seeds': 2}
    first, again, other = generate(entry).seeds, generate(entry).seeds, generate(entry, random_seed=8).seeds
    assert [seed.seed_id for seed in first] == [seed.seed_id for seed in again]
    assert not {seed.seed_id for seed in first} & {seed.seed_id for seed in other}


def test_strain_moves_molecules_without_deforming_them(generate):
    plain, strained = (
        generate({**WATER, 'n_seeds': 1, **fields}).seeds[0].atoms
        for fields in ({}, {'perturb': {'anisotropic_strain': 0.1, 'shear': 0.05, 'volume_scan': [0.3]}})
    )
    assert_whole(strained, molecule('H2O'))
    assert strained.get_volume() > 1.1 * plain.get_volume()


def test_a_rattled_molecule_moves_and_turns_as_a_whole():
    from aiida_mlip_autopipe.generation.perturb import PerturbSettings, perturb_atoms

    atoms = Atoms(cell=[100] * 3, pbc=True)
    for number in range(1, 401):
        one = molecule('H2O')
        one.set_tags(number)
        atoms += one
    moved, record = perturb_atoms(atoms, PerturbSettings(rattle_A=0.05), 0, np.random.default_rng(0), molecular=True)
    assert record['rattle_A'] == 0.05
    assert_whole(moved, molecule('H2O'))
    shifts = (moved.positions - atoms.positions).reshape(400, 3, 3)
    centres = shifts.mean(axis=1)
    assert centres.std() == pytest.approx(0.05, rel=0.05)
    # Each of three rotations by σ/R moves the atoms by (2/3)^½ σ along each axis, on average over the axes.
    turned = shifts - centres[:, None]
    assert np.sqrt((turned**2).sum(axis=2).mean()) == pytest.approx(0.05 * np.sqrt(2), rel=0.05)


def test_strained_centres_follow_the_cell():
    from aiida_mlip_autopipe.generation.perturb import PerturbSettings, perturb_atoms

    atoms = molecule('CH3OH', cell=[8, 9, 10], pbc=True)
    atoms.set_tags(1)
    settings = PerturbSettings(shear=0.05, isotropic_strain=0.1, supercell=(2, 1, 1))
    moved, _ = perturb_atoms(atoms, settings, 0, np.random.default_rng(0), molecular=True)
    assert moved.get_tags().tolist() == [1] * 6 + [2] * 6
    scaled = [one.get_scaled_positions(wrap=False)[:6].mean(axis=0) for one in (atoms.repeat((2, 1, 1)), moved)]
    np.testing.assert_allclose(*scaled, atol=1e-12)
    assert_whole(moved, molecule('CH3OH'))


def test_molecules_that_touch_after_a_perturbation_are_rejected(generate):
    entry = {**WATER, 'n_seeds': 1, 'perturb': {'volume_scan': [-0.6]}, 'validation': {'cell': 'as_given'}}
    with pytest.raises(PhysicsViolationError) as caught:
        generate(entry)
    assert caught.value.rule == 'contact'
    assert caught.value.value < caught.value.limit


def test_contacts_of_a_molecule_with_its_image_count():
    atoms = molecule('H2', cell=[2.0, 8.0, 8.0], pbc=True)
    atoms.set_tags(1)
    check_contacts(atoms, 0.8)
    with pytest.raises(PhysicsViolationError) as caught:
        check_contacts(atoms, 0.9)
    assert (caught.value.value, caught.value.limit) == (pytest.approx(2.0), pytest.approx(0.9 * 2.4))


def test_every_element_has_a_van_der_waals_radius():
    assert np.isfinite(van_der_waals_radii()[1:]).all()
    assert van_der_waals_radii()[8] == 1.5


def test_smiles_have_the_geometry_and_the_charge_of_the_molecule(generate):
    pytest.importorskip('rdkit')
    water, hydroxide = molecule_from_smiles('O'), molecule_from_smiles('[OH-]')
    assert water.get_distance(0, 1) == pytest.approx(molecule('H2O').get_distance(0, 1), abs=0.02)
    assert water.get_angle(1, 0, 2) == pytest.approx(molecule('H2O').get_angle(1, 0, 2), abs=3)
    assert hydroxide.get_initial_charges().tolist() == [-1, 0]
    entry = liquid({'smiles': 'CCO', 'count': 20}, {'smiles': '[Li+]', 'count': 1}, {'smiles': '[Cl-]', 'count': 1})
    (seed,) = generate(entry).seeds
    assert Counter(seed.atoms.get_chemical_symbols()) == {'C': 40, 'O': 20, 'H': 120, 'Li': 1, 'Cl': 1}
    assert_whole(seed.atoms, molecule_from_smiles('CCO'), Atoms('Li'), Atoms('Cl'))


@pytest.mark.parametrize(
    ('smiles', 'values'),
    [('C1CC', ["'C1CC'"]), ('[Na+].[Cl-]', ["'[Na+].[Cl-]'", '2']), ('F[P-](F)(F)(F)(F)F', ['MMFF94'])],
)
def test_unusable_smiles_are_refused(smiles, values):
    pytest.importorskip('rdkit')
    with refused(Code.MOLECULE_UNKNOWN, *values):
        molecule_from_smiles(smiles)


def test_without_rdkit_the_command_that_installs_it_is_shown(generate, monkeypatch):
    monkeypatch.setitem(sys.modules, 'rdkit', None)
    with refused(Code.PACKAGE_MISSING, "pip install 'aiida-mlip-autopipe[molecules]'"):
        generate(liquid({'smiles': 'CCO'}))
    generate(WATER | {'n_seeds': 1})


def test_molecules_from_files_are_identified_by_their_content(generate, tmp_path):
    seeds = []
    for name in ('one.xyz', 'two.xyz'):
        molecule('CH3OH').write(tmp_path / name)
        seeds += generate(liquid({'file': str(tmp_path / name)}, density=0.79)).seeds
    assert seeds[0].seed_id == seeds[1].seed_id
    molecule('CH3OH', vacuum=5, pbc=True).write(tmp_path / 'cell.xyz', format='extxyz')
    with refused(Code.STRUCTURE_UNUSABLE, 'cell.xyz'):
        generate(liquid({'file': str(tmp_path / 'cell.xyz')}))


def test_properties_of_a_molecule_that_are_not_kept_are_reported(generate, tmp_path):
    heavy = molecule('H2O')
    heavy.set_masses([16, 2.014, 2.014])
    heavy.set_momenta([[0.1, 0, 0]] * 3)
    heavy.set_initial_magnetic_moments([1, 0, 0])
    heavy.set_constraint(FixAtoms([0]))
    heavy.write(tmp_path / 'heavy.traj')
    entry = liquid({'file': str(tmp_path / 'heavy.traj'), 'count': 4}, {'name': 'CH4', 'count': 4})
    result = generate(entry)
    first, *others = result.report['entries']['0']['notes']
    assert all(what in first for what in ('heavy.traj', 'momenta', 'masses', 'magnetic moments', 'fixed atoms'))
    assert len(others) == len(generate(WATER | {'n_seeds': 1}).report['entries']['0']['notes']) == 1
    assert not result.seeds[0].atoms.has('masses')


def test_isotopes_in_a_smiles_are_reported():
    assert molecule_from_smiles('[2H]O[2H]').info['dropped'] == ['masses']
    assert 'dropped' not in molecule_from_smiles('O').info


def test_the_charge_of_a_polyatomic_ion_is_that_of_the_molecule(generate, tmp_path):
    molecule('OH').write(tmp_path / 'OH.xyz')
    ions = [{'name': 'Na', 'charge': 1, 'count': 2}, {'file': str(tmp_path / 'OH.xyz'), 'charge': -1, 'count': 2}]
    (seed,) = generate(liquid(*ions, {'name': 'H2O', 'count': 40})).seeds
    charges = seed.atoms.get_initial_charges()
    assert [round(charges[group].sum(), 12) for group in members(seed.atoms)] == [1, 1, -1, -1] + [0] * 40


def test_a_net_charge_needs_permission(generate):
    ions = [{'name': 'Na', 'charge': 1, 'count': 2}, {'name': 'H2O', 'count': 40}]
    with refused(Code.CHARGE_UNBALANCED, 'Na +1', '+2 e', 'charged: true'):
        generate(liquid(*ions))
    (seed,) = generate(liquid(*ions, charged=True)).seeds
    assert seed.atoms.get_initial_charges().sum() == 2


def test_an_impossible_density_is_refused_with_a_possible_one(generate):
    with refused(Code.DENSITY_IMPOSSIBLE, '4 g/cm³', '32 H2O') as caught:
        generate({**WATER, 'density_g_per_cm3': 4.0, 'n_seeds': 1})
    possible = float(str(caught.value).partition('at most ')[2].split()[0])
    assert 1 < possible < 4
    generate({**WATER, 'density_g_per_cm3': possible, 'n_seeds': 1})


def test_too_few_molecules_for_the_calculator_are_refused_with_the_number_needed(generate):
    with refused(Code.CELL_TOO_SMALL, '10 H2O', '10.00 Å') as caught:
        generate(liquid({'name': 'H2O', 'count': 10}), cutoff_A=5.0)
    needed = int(str(caught.value).partition('at least ')[2].split()[0])
    generate(liquid({'name': 'H2O', 'count': needed}), cutoff_A=5.0)
    with refused(Code.CELL_TOO_SMALL, 'box_A', '10.00'):
        generate(liquid({'name': 'H2O', 'count': 10}, density=None, box_A=9.0), cutoff_A=5.0)
    with refused(Code.CELL_TOO_SMALL, 'validation.max_atoms'):
        generate({**WATER, 'n_seeds': 1}, cutoff_A=10.0)


H2O = {'name': 'H2O'}


@pytest.mark.parametrize(
    ('entry', 'code', 'values'),
    [
        (liquid({'name': 'H2OO'}), Code.MOLECULE_UNKNOWN, ["'H2OO'"]),
        (liquid({'name': 'H2O', 'smiles': 'O'}), Code.VALUES_EXCLUDE, ['name', 'smiles']),
        (liquid({'name': 'H2O', 'count': 1, 'fraction': 0.5}), Code.VALUES_EXCLUDE, ['count', 'fraction']),
        (liquid({'name': 'H2O', 'count': 1}, {'name': 'CO'}), Code.VALUES_INCOMPLETE, ['count']),
        (liquid(H2O, density=None), Code.VALUES_INCOMPLETE, ['density_g_per_cm3', 'box_A']),
        (liquid(H2O, box_A=10), Code.VALUES_EXCLUDE, ['density_g_per_cm3', 'box_A']),
        (liquid(H2O, density=None, box_A=10), Code.VALUES_INCOMPLETE, ['n_molecules']),
        (liquid(H2O, H2O), Code.VALUE_INVALID, ['H2O']),
        (liquid(H2O, {'name': 'CO'}), Code.COMPOSITION_INVALID, ['2 molecules']),
        (liquid({**H2O, 'fraction': 0.5}, {'name': 'CO', 'fraction': 0.4}), Code.COMPOSITION_INVALID, ['0.9']),
        (liquid({**H2O, 'fraction': 0.999}, {'name': 'CO'}, n_molecules=40), Code.COMPOSITION_IMPOSSIBLE, ['CO 0.001']),
        (liquid({'name': 'CO', 'concentration_mol_per_L': 40}, H2O), Code.DENSITY_IMPOSSIBLE, ['1 g/cm³', 'H2O']),
        (liquid({'name': 'CO', 'concentration_mol_per_L': 1}, H2O, density=None, box_A=12, n_molecules=50),
         Code.VALUES_INCOMPLETE, ['H2O', 'density_g_per_cm3']),
        (liquid({'name': 'CO', 'concentration_mol_per_L': 1}), Code.VALUES_EXCLUDE, ['density']),
        ({'kind': 'defect', 'of': WATER, 'vacancies': {'O': 1}, 'n_seeds': 1}, Code.HOST_UNSUITABLE, ['molecular']),
        ({'kind': 'surface', 'of': WATER}, Code.HOST_UNSUITABLE, ['molecular']),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(generate, entry, code, values):
    with refused(code, *values):
        generate(entry)


def test_the_report_says_that_dispersion_matters(generate):
    assert any(
        'NVT' in note and 'dispersion' in note
        for note in generate({**WATER, 'n_seeds': 1}).report['entries']['0']['notes']
    )


def test_an_ion_named_by_its_element_does_not_lose_the_moment_of_the_atom(generate):
    ions = [{'name': name, 'charge': charge, 'count': 1} for name, charge in (('Li', 1), ('F', -1))]
    water = {'name': 'H2O', 'count': 30}
    assert len(generate(liquid(*ions, water)).report['entries']['0']['notes']) == 1
    atoms = [{'name': 'Li', 'count': 1}, water]
    assert 'magnetic moments' in generate(liquid(*atoms)).report['entries']['0']['notes'][0]


def test_the_error_of_a_molecule_names_its_place(make_entries):
    pytest.importorskip('rdkit')
    (entry,) = make_entries(liquid(H2O | {'count': 10}, {'smiles': 'F[P-](F)(F)(F)(F)F', 'count': 1}, charged=True))
    with refused(Code.MOLECULE_UNKNOWN, 'molecules[1]', '[P-]'):
        entry.elements()
