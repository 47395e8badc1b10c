"""The calcfunctions before and after AseCalculation."""

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from support.process_labels import EMT_SETTINGS

from aiida_mlip_autopipe.calculations.processes.ase import label_from_arrays, label_from_ase, prepare_ase
from aiida_mlip_autopipe.calculations.processes.base import PROCESSES_VERSION
from aiida_mlip_autopipe.labelling.label import Failure
from aiida_mlip_autopipe.labelling.labellers.ase import AseSettings

RECORD = {'attempts': [], 'seconds': 0.2, 'threads': 1}
ARRAYS = {'energies': np.array([-1.0, -0.9]), 'forces': np.zeros((4, 3)), 'stress': np.arange(6.0)}

pytestmark = pytest.mark.usefixtures('aiida_profile')


def shared(dataset, settings=EMT_SETTINGS):
    return {
        'dataset': dataset,
        'item': orm.Int(0),
        'settings': orm.Dict(settings),
        'versions': orm.Dict({'ase': '3.29.0'}),
        'variant': orm.Str(''),
        'stage_version': orm.Str(PROCESSES_VERSION),
    }


@pytest.mark.parametrize(
    ('energy', 'value', 'free', 'extrapolated'),
    [('free_energy', -1.0, -1.0, None), ('extrapolated', -0.9, None, -0.9), ('total', -0.9, None, None)],
)
def test_the_label_has_the_energy_that_is_set(energy, value, free, extrapolated):
    label = label_from_arrays(ARRAYS, AseSettings(**EMT_SETTINGS, energy=energy), RECORD)
    assert (label.energy_eV, label.energy_kind) == (value, energy)
    assert (label.free_energy_eV, label.extrapolated_energy_eV) == (free, extrapolated)


@pytest.mark.parametrize('name', ['energies', 'forces', 'stress'])
def test_results_that_are_not_finite_are_a_failure(name):
    arrays = {**ARRAYS, name: np.full_like(ARRAYS[name], np.nan)}
    outcome = label_from_arrays(arrays, AseSettings(**EMT_SETTINGS), RECORD)
    assert isinstance(outcome, Failure)
    assert outcome.rule == 'not_finite'


def test_a_failure_is_stored_with_its_reason(make_dataset, copper):
    record = orm.Dict({**RECORD, 'rule': 'raised', 'reason': 'NotImplementedError'})
    labels = label_from_ase(**shared(make_dataset(copper)), record=record)
    (failure,) = labels.outcomes()
    assert isinstance(failure, Failure)
    assert (failure.rule, failure.reason) == ('raised', 'NotImplementedError')


def test_the_level_has_the_versions_that_were_used(make_dataset, copper):
    parameters = orm.Dict({'versions': {'ase': '3.22.0'}})
    labels = label_from_ase(
        **shared(make_dataset(copper)), record=orm.Dict(RECORD), parameters=parameters, array=orm.ArrayData(ARRAYS)
    )
    assert labels.level.parameters['versions'] == {'ase': '3.22.0'}
    assert not isinstance(labels.outcomes()[0], Failure)


def test_the_structure_of_the_job_has_no_tags_and_a_mesh_of_k_points(make_dataset, copper):
    copper.set_tags([0, 1, 2, 3])
    outputs, _ = run_get_node(prepare_ase, **shared(make_dataset(copper), {**EMT_SETTINGS, 'kspacing_per_A': 0.5}))
    assert outputs['structure'].get_kind_names() == ['Cu']
    assert outputs['kpoints'].get_kpoints_mesh()[0] == [4, 4, 4]


def test_a_structure_with_moments_is_refused(make_dataset, copper):
    copper.set_initial_magnetic_moments([1.0] * 4)
    _, node = run_get_node(prepare_ase, **shared(make_dataset(copper)))
    assert node.exit_status == 400
