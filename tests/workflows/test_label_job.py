"""A labelling job in AiiDA."""

import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write
from support.environments import environment_of

from aiida_mlip_autopipe.calculations.labelling.label import LabellingCalculation
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.labels import find_labels
from aiida_mlip_autopipe.labelling import LABELLERS, LABELLING_VERSION, label_key

EMT_SETTINGS = {'kind': 'emt'}


@pytest.fixture
def inputs(emt_code, tmp_path):
    structures = [bulk(symbol, cubic=True) for symbol in ('Cu', 'Au', 'Al')]
    for number, atoms in enumerate(structures):
        atoms.rattle(0.05, seed=number)
    write(tmp_path / 'metals.traj', structures)
    labeller = LABELLERS.load('calculator')
    environment = environment_of(EMT_SETTINGS)
    level = labeller(labeller.settings_class(calculator=EMT_SETTINGS)).level(environment)
    job = {
        'code': emt_code,
        'calculator': orm.Dict(EMT_SETTINGS),
        'environment': orm.Dict(environment.model_dump(mode='json')),
        'dataset': DatasetData.from_file(tmp_path / 'metals.traj'),
        'rows': orm.List([2, 0]),
        'level': orm.Dict(level.model_dump(mode='json')),
        'request': orm.Dict({'isolated_atoms': ['Al', 'Cu']}),
        'labelling_version': orm.Str(LABELLING_VERSION),
    }
    return job, level, structures


@pytest.mark.integration
def test_a_job_labels_structures_of_a_dataset_and_the_labels_are_found(inputs):
    job, level, structures = inputs
    outputs, node = run_get_node(LabellingCalculation, **job)
    assert node.is_finished_ok, node.exit_message
    keys = [label_key(structures[row], level.hash) for row in (2, 0)]
    assert outputs['labels'].keys == keys
    assert set(outputs['labels'].isolated_atom_energies_eV) == {'Al', 'Cu'}
    found = find_labels([*keys, label_key(structures[1], level.hash)], level.hash, LABELLING_VERSION)
    assert {key: index for key, (_, index) in found.items()} == {keys[0]: 0, keys[1]: 1}
    for row, label in zip((2, 0), outputs['labels'].outcomes(), strict=True):
        structures[row].calc = EMT()
        assert label.energy_eV == pytest.approx(structures[row].get_potential_energy(), abs=1e-10)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'rows': [3]}, ['rows', ' 3;', ' 2']),
        ({'request': {'time_limit_s': 0}}, ['request.time_limit_s']),
        ({'level': {'method': 'dtf', 'code': 'gpaw', 'name': 'dft'}}, ['level.method']),
        ({'rows': [], 'request': {}}, ['rows', 'isolated atoms']),
    ],
    ids=['row', 'request', 'level', 'nothing'],
)
def test_invalid_inputs_are_refused(inputs, changes, words):
    ports = LabellingCalculation.spec().inputs
    valid = dict(ports.pre_process(dict(inputs[0])))
    assert ports.validate(valid) is None
    message = ports.validate(valid | {name: orm.to_aiida_type(value) for name, value in changes.items()}).message
    assert [word for word in words if word not in message] == []
