import tempfile
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.data import (
    dataset,
    descriptors,
    evaluation,
    labels,
    schema_version,
    seed,
    selection,
    trajectory,
)
from aiida_mlip_autopipe.data.schema_version import check_schema, set_schema
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.labelling import Label
from aiida_mlip_autopipe.sampling import Selection
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.structures.trajectory import Trajectory

COPPER = bulk('Cu', cubic=True)
LEG = Trajectory(
    seed_id='seed',
    numbers=COPPER.numbers,
    pbc=COPPER.pbc,
    steps=np.arange(2),
    positions=np.tile(COPPER.positions, (2, 1, 1)),
    cells=np.tile(COPPER.cell.array, (2, 1, 1)),
    energies=np.zeros(2),
    forces=np.zeros((2, 4, 3)),
    stresses=np.zeros((2, 6)),
    temperatures=np.zeros(2),
)
CHOSEN = Selection(
    trajectory_indices=np.array([0]),
    frame_indices=np.array([1]),
    distances=np.array([0.5]),
    gains=np.array([np.nan]),
    splits=('train',),
    report={},
)


def make_leg():
    return trajectory.node_from_trajectory(LEG, {})


def make_dataset():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'cu.traj')
        COPPER.write(path)
        return dataset.DatasetData.from_file(path)


def make_descriptors():
    requested = {'of': 'frames', 'descriptor': SoapSettings().model_dump()}
    return descriptors.node_from_features(np.zeros((2, 3)), {LEG.trajectory_id: 2}, requested, [29], {'statistics': {}})


def make_labels():
    level = LevelOfTheory(method='dft', code='gpaw', name='dft:gpaw:pbe')
    label = Label(-1.0, 'total', np.zeros((4, 3)))
    return labels.LabelsData.from_outcomes([COPPER.numbers], ['label-0'], [label], level, '1')


# For each type of node: a function that makes a node, its version, and a function that reads it.
NODES = {
    'seed': (lambda: seed.SeedData.from_seed(Seed(COPPER)), seed.SEED_VERSION, seed.SeedData.to_seed),
    'trajectory': (make_leg, trajectory.TRAJECTORY_VERSION, trajectory.trajectory_from_node),
    'evaluation': (
        lambda: evaluation.node_from_evaluation(LEG, LEG, {}),
        evaluation.EVALUATION_NODE_VERSION,
        lambda node: evaluation.evaluated_trajectories([make_leg()], [node]),
    ),
    'selection': (
        lambda: selection.nodes_from_selection(CHOSEN, [make_leg()])['selection'],
        selection.SELECTION_VERSION,
        lambda node: selection.selection_from_node(node, {}, [LEG.trajectory_id]),
    ),
    'labels': (make_labels, labels.LABELS_NODE_VERSION, labels.LabelsData.outcomes),
    'dataset': (make_dataset, dataset.DATASET_NODE_VERSION, dataset.DatasetData.structures),
    'descriptors': (
        make_descriptors,
        descriptors.DESCRIPTORS_NODE_VERSION,
        lambda node: descriptors.descriptors_from_nodes([node], [LEG.trajectory_id]),
    ),
}


@pytest.mark.parametrize('node_type', NODES)
def test_a_node_has_its_version_and_can_be_read(node_type):
    make, version, read = NODES[node_type]
    node = make()
    assert node.base.attributes.get(schema_version.SCHEMA_VERSION) == version
    assert read(node)


@pytest.mark.parametrize('node_type', NODES)
def test_a_node_of_a_newer_version_is_refused(node_type):
    make, version, read = NODES[node_type]
    node = make()
    set_schema(node, version + 1)
    with refused(Code.SCHEMA_VERSION, node.uuid):
        read(node)


@pytest.mark.parametrize('node_type', NODES)
def test_a_node_without_a_version_is_refused(node_type):
    make, _, read = NODES[node_type]
    node = make()
    node.base.attributes.delete(schema_version.SCHEMA_VERSION)
    with refused(Code.SCHEMA_VERSION, node.uuid):
        read(node)


def test_an_older_version_is_returned_if_it_is_supported():
    node = orm.Dict()
    set_schema(node, 2)
    assert check_schema(node, newest=3, oldest=2) == 2
    with refused(Code.SCHEMA_VERSION, node.uuid, '3 to 4'):
        check_schema(node, newest=4, oldest=3)


def test_an_update_is_proposed_only_for_a_newer_node():
    node = orm.Dict()
    set_schema(node, 2)
    with refused(Code.SCHEMA_VERSION, 'schema_version 2', 'version 1', 'aiida-mlip-autopipe'):
        check_schema(node, newest=1)
    with refused(Code.SCHEMA_VERSION, 'schema_version 2', 'version 3') as error:
        check_schema(node, newest=3, oldest=3)
    assert 'aiida-mlip-autopipe' not in str(error.value)
