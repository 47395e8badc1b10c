import numpy as np
import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.plugins import ParserFactory
from ase.build import bulk
from ase.io import write

from aiida_mlip_autopipe.calculations.descriptors import DescriptorsCalculation
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.descriptors import descriptors_from_nodes
from aiida_mlip_autopipe.data.trajectory import node_from_trajectory, trajectory_id
from aiida_mlip_autopipe.descriptors.contract import DESCRIPTORS_FILE
from aiida_mlip_autopipe.descriptors.describe import descriptor_key
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.structures.trajectory import Trajectory

COPPER = bulk('Cu', cubic=True)


def leg(n_frames):
    """Return a leg; the leg with two frames comes before all others."""
    first_step = 0 if n_frames == 2 else 2
    return node_from_trajectory(
        Trajectory(
            seed_id='seed',
            numbers=COPPER.numbers,
            pbc=COPPER.pbc,
            steps=first_step + np.arange(n_frames),
            positions=np.tile(COPPER.positions, (n_frames, 1, 1)),
            cells=np.tile(COPPER.cell.array, (n_frames, 1, 1)),
            energies=np.zeros(n_frames),
            forces=np.zeros((n_frames, 4, 3)),
            stresses=np.zeros((n_frames, 6)),
            temperatures=np.zeros(n_frames),
        ),
        {},
    )


def ids(*n_frames):
    return [trajectory_id(leg(n)) for n in n_frames]


@pytest.fixture
def make_reference(tmp_path):
    """Return a function that makes the node of a dataset with two structures, a cell and a supercell of two."""

    def make():
        write(tmp_path / 'old.traj', [COPPER, COPPER * (2, 1, 1)])
        return DatasetData.from_file(tmp_path / 'old.traj')

    return make


@pytest.fixture
def parse(emt_code, tmp_path):
    """Return a function that parses the files of a job on two legs of one and two frames, or on other inputs."""

    def run(result, features=None, inputs=None):
        process_type = DescriptorsCalculation.build_process_type()
        node = orm.CalcJobNode(computer=emt_code.computer, process_type=process_type)
        inputs = {
            **(inputs or {'legs__a': leg(1), 'legs__b': leg(2)}),
            'descriptor': orm.Dict(SoapSettings().model_dump()),
            'species': orm.List([29]),
        }
        for label, value in inputs.items():
            node.base.links.add_incoming(value.store(), LinkType.INPUT_CALC, label)
        node.store()
        retrieved = orm.FolderData()
        retrieved.put_object_from_bytes(result.model_dump_json().encode(), contract.RESULT_FILE)
        retrieved.base.links.add_incoming(node, LinkType.CREATE, 'retrieved')
        retrieved.store()
        if features is not None:
            np.save(tmp_path / DESCRIPTORS_FILE, features)
        parser = ParserFactory('mlip_autopipe.descriptors')
        outputs, process = parser.parse_from_node(
            node, store_provenance=False, retrieved_temporary_folder=str(tmp_path)
        )
        return ({'result': outputs} if isinstance(outputs, orm.Dict) else outputs), process

    return run


def make_result(**fields):
    return contract.Result(**{'outcome': 'completed', 'statistics': {'n_features': 2}, **fields})


def test_descriptors_are_assigned_to_their_legs(parse):
    features = np.arange(6, dtype=np.float32).reshape(3, 2)
    outputs, process = parse(make_result(), features)
    assert process.exit_status == 0
    found = descriptors_from_nodes([outputs['descriptors']], ids(1, 2))
    descriptors = found[descriptor_key(SoapSettings())]
    np.testing.assert_array_equal(descriptors.features[0], features[2:])
    np.testing.assert_array_equal(descriptors.features[1], features[:2])
    assert descriptors.species == (29,)
    assert descriptors.report == {'n_features': 2}
    # If a leg is missing, the descriptor is left out.
    assert descriptors_from_nodes([outputs['descriptors']], [*ids(2), 'another']) == {}


def test_descriptors_of_environments_are_assigned_to_the_atoms_of_their_legs(parse, make_reference):
    points = np.arange(24, dtype=np.float32).reshape(12, 2)
    pca = {'pca': orm.ArrayData({'mean': np.zeros(3)})}
    outputs, _ = parse(make_result(), points, {'legs__a': leg(1), 'legs__b': leg(2), **pca})
    pca = {'pca': orm.ArrayData({'mean': np.zeros(3)})}
    reference, _ = parse(make_result(), points, {'reference_dataset': make_reference(), **pca})
    found = descriptors_from_nodes([outputs['descriptors'], reference['descriptors']], ids(2, 1))
    descriptors = found[descriptor_key(SoapSettings(), 'environments')]
    np.testing.assert_array_equal(descriptors.features[0], points[:8])
    np.testing.assert_array_equal(descriptors.features[1], points[8:])
    np.testing.assert_array_equal(descriptors.reference, points)
    assert descriptor_key(SoapSettings()) not in found


def test_descriptors_of_a_reference_dataset_are_kept_apart_from_those_of_the_legs(parse, make_reference):
    frames, _ = parse(make_result(), np.zeros((3, 2), dtype=np.float32))
    others, process = parse(make_result(), np.ones((2, 2), dtype=np.float32), {'reference_dataset': make_reference()})
    assert process.exit_status == 0
    found = descriptors_from_nodes([frames['descriptors'], others['descriptors']], ids(2, 1))
    assert found[descriptor_key(SoapSettings())].reference.tolist() == [[1, 1], [1, 1]]
    _, process = parse(make_result(), np.ones((3, 2)), {'reference_dataset': make_reference()})
    assert process.exit_status == 303


@pytest.mark.parametrize(
    ('result', 'features', 'status'),
    [
        (make_result(), None, 302),
        (make_result(), np.zeros((2, 2)), 303),
        (make_result(outcome='refused', code=Code.CONTRACT_VERSION, message='1, not 2'), None, 310),
        (make_result(outcome='refused', code=Code.ELEMENT_UNSUPPORTED, message='no W'), None, 323),
        (make_result(outcome='refused', code=Code.CALCULATOR_MISSING, message='no'), None, 320),
        (make_result(outcome='refused', code=Code.MODEL_NOT_LOADED, message='no'), None, 321),
        (make_result(outcome='refused', code=Code.MODEL_MISMATCH, message='no'), None, 322),
        (make_result(outcome='failed', message='ZeroDivisionError', traceback='…'), None, 350),
        (make_result(outcome='out_of_walltime', message='2 of 3'), np.zeros((3, 2)), 400),
    ],
)
def test_each_failure_has_a_specific_exit_code(parse, result, features, status):
    outputs, process = parse(result, features)
    assert process.exit_status == status
    assert set(outputs) == {'result'}
