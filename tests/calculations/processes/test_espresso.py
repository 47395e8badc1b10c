"""The calcfunctions before and after PwBaseWorkChain, with the results of a real run."""

import json
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk
from ase.io import read

from aiida_mlip_autopipe.calculations.processes.base import PROCESSES_VERSION
from aiida_mlip_autopipe.calculations.processes.espresso import KIND, label_from_arrays, label_from_pw, prepare_pw
from aiida_mlip_autopipe.labelling.keys import label_key
from aiida_mlip_autopipe.labelling.label import Failure
from aiida_mlip_autopipe.labelling.labellers.espresso import VERSION, PwSettings

DATA = Path(__file__).parent / 'data'
SETTINGS = {'plane_wave_cutoff_eV': 400.0, 'density_cutoff_eV': 1600.0, 'kspacing_per_A': 0.7}
VERSIONS = {VERSION: '6.7MaX', 'Si': 'a' * 64}
RECORD = {'attempts': [], 'seconds': 1.5, 'threads': 2}
# The readers use different values of the Rydberg constant.
READERS = 2e-8

pytestmark = pytest.mark.usefixtures('aiida_profile')


@pytest.fixture
def results():
    """Return the results of pw.x that the plugin has read."""
    return json.loads((DATA / 'si_pw.json').read_text())


@pytest.fixture
def arrays(results):
    return {name: np.array(values)[-1] for name, values in results['output_trajectory'].items()}


@pytest.fixture
def output():
    """Return what ASE's reader finds in the output of the same run."""
    return read(DATA / 'si_pw.out', format='espresso-out')


def shared(dataset=None, item=None, settings=SETTINGS, versions=VERSIONS):
    nodes = {
        'item': orm.Int(0) if item is None else orm.Str(item),
        'settings': orm.Dict(settings),
        'versions': orm.Dict(versions),
        'variant': orm.Str(''),
        'stage_version': orm.Str(PROCESSES_VERSION),
    }
    return nodes if dataset is None else {**nodes, 'dataset': dataset}


def prepare(**inputs):
    return run_get_node(prepare_pw, valences=orm.Dict({'Si': 4, 'Ni': 10, 'O': 6}), **shared(**inputs))


def collect(results, record=RECORD, **inputs):
    nodes = {}
    if results:
        trajectory = orm.ArrayData({name: np.array(values) for name, values in results['output_trajectory'].items()})
        nodes = {'output_parameters': orm.Dict(results['output_parameters']), 'output_trajectory': trajectory}
    return label_from_pw(**shared(**inputs), record=orm.Dict(record), **nodes)


def test_a_label_agrees_with_an_independent_reader_of_the_output(arrays, output):
    label = label_from_arrays(arrays, PwSettings(**SETTINGS), RECORD)
    assert label.energy_eV == pytest.approx(output.get_potential_energy(), rel=READERS)
    np.testing.assert_allclose(label.forces_eV_A, output.get_forces(), atol=1e-6)
    np.testing.assert_allclose(label.stress_eV_A3, output.get_stress(), atol=1e-6)
    # The crystal is compressed.
    assert label.stress_eV_A3[:3].max() < -0.07


@pytest.mark.parametrize(('smearing', 'fraction'), [('fermi-dirac', 0.5), ('marzari-vanderbilt', 0.0)])
def test_the_energy_is_the_free_energy_or_its_extrapolation(arrays, smearing, fraction):
    free, extrapolated = (
        label_from_arrays(arrays, PwSettings(**SETTINGS, smearing=smearing, energy=energy), RECORD)
        for energy in ('free_energy', 'extrapolated')
    )
    assert (free.energy_kind, extrapolated.energy_kind) == ('free_energy', 'extrapolated')
    assert free.energy_eV == free.free_energy_eV == extrapolated.free_energy_eV == float(arrays['energy'])
    # The entropy lowers the free energy.
    assert extrapolated.energy_eV - free.energy_eV == pytest.approx(-fraction * float(arrays['energy_smearing']))


def test_energies_or_forces_that_are_not_finite_are_a_failure(arrays):
    arrays['forces'] = arrays['forces'] * np.nan
    assert label_from_arrays(arrays, PwSettings(**SETTINGS), RECORD).rule == 'not_finite'


def test_the_node_has_the_key_of_the_structure_at_its_level(make_dataset, silicon, results):
    labels = collect(results, dataset=make_dataset(silicon))
    assert labels.keys == [label_key(silicon, labels.level.hash)]
    (label,) = labels.outcomes()
    assert label.energy_eV == results['output_trajectory']['energy'][-1]
    assert (label.seconds, label.threads) == (1.5, 2)
    assert labels.level.parameters['potentials'] == {'Si': 'a' * 64}


def test_the_level_has_the_version_that_was_used(make_dataset, silicon, results):
    dataset = make_dataset(silicon)
    labels = collect(results, dataset=dataset, versions={**VERSIONS, VERSION: '7.2'})
    assert labels.level.parameters['version'] == '6.7MaX'
    assert labels.level.hash == collect(results, dataset=dataset).level.hash


def test_a_failure_is_stored_with_its_reason(make_dataset, silicon):
    record = {**RECORD, 'rule': 'not_converged', 'reason': 'no self-consistency'}
    (failure,) = collect(None, record, dataset=make_dataset(silicon)).outcomes()
    assert isinstance(failure, Failure)
    assert (failure.rule, failure.reason, failure.seconds) == ('not_converged', 'no self-consistency', 1.5)


def test_the_energy_of_an_isolated_atom_has_no_key(results):
    labels = collect(results, item='Si')
    assert labels.keys == []
    assert labels.isolated_atom_energies_eV == {'Si': pytest.approx(results['output_trajectory']['energy'][-1])}


def test_the_inputs_are_those_of_the_structure_in_the_row(make_dataset, silicon):
    outputs, _ = prepare(dataset=make_dataset(silicon))
    np.testing.assert_allclose(outputs['structure'].get_ase().positions, silicon.positions, atol=1e-12)
    assert outputs['kpoints'].get_kpoints_mesh() == ([3, 3, 3], [0.0, 0.0, 0.0])
    assert outputs['parameters']['CONTROL']['tstress'] is True


def test_a_structure_that_cannot_be_computed_is_refused(make_dataset):
    atoms = bulk('Ni') * (10, 1, 1)
    atoms.set_initial_magnetic_moments(np.arange(10.0))
    _, node = prepare(dataset=make_dataset(atoms), settings={**SETTINGS, 'spin_polarized': True})
    assert node.exit_status == 400


@pytest.fixture
def nickel_oxide(make_dataset):
    atoms = bulk('NiO', 'rocksalt', 4.2, cubic=True)
    atoms.set_initial_magnetic_moments(np.tile([1.0, 0.0, -1.0, 0.0], 2))
    return make_dataset(atoms)


WITH_U = {**SETTINGS, 'spin_polarized': True, 'hubbard_U_eV': {'Ni': {'d': 6.2}}}


def test_versions_before_7_1_read_U_from_the_namelists(nickel_oxide):
    outputs, _ = prepare(dataset=nickel_oxide, settings=WITH_U)
    assert outputs['parameters']['SYSTEM']['hubbard_u'] == {'Ni1': 6.2, 'Ni2': 6.2}


def test_later_versions_read_U_from_a_card(nickel_oxide):
    hubbard = pytest.importorskip('aiida_quantumespresso.utils.hubbard', reason='needs the extra espresso')
    outputs, _ = prepare(dataset=nickel_oxide, settings=WITH_U, versions={VERSION: '7.2'})
    card = hubbard.HubbardUtils(outputs['structure']).get_hubbard_card().split()
    assert card[:2] == ['HUBBARD', 'atomic']
    assert {tuple(card[start : start + 3]) for start in range(2, len(card), 3)} == {
        ('U', 'Ni1-3d', '6.2'),
        ('U', 'Ni2-3d', '6.2'),
    }
    assert 'hubbard_u' not in outputs['parameters']['SYSTEM']


def test_each_species_has_the_pseudopotential_of_its_element(nickel_oxide):
    prepared, _ = prepare(dataset=nickel_oxide, settings=WITH_U)
    pseudos = {'Ni': orm.Str('nickel'), 'O': orm.Str('oxygen')}
    inputs = KIND.inputs(prepared, orm.Str('pw.x'), {}, pseudos, 60.2)
    assert {name: node.value for name, node in inputs['pw']['pseudos'].items()} == {
        'Ni1': 'nickel',
        'Ni2': 'nickel',
        'O': 'oxygen',
    }
    assert inputs['pw']['metadata']['options']['max_wallclock_seconds'] == 61
