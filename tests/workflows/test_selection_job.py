"""The selection job gives the same nodes as the calcfunction, and has an exit code for each failure."""

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk
from ase.db import connect
from support.environments import environment_of

from aiida_mlip_autopipe.calculations.select import SelectionCalculation
from aiida_mlip_autopipe.calculations.select_frames import select_frames
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.descriptors import node_from_features
from aiida_mlip_autopipe.data.evaluation import node_from_evaluation
from aiida_mlip_autopipe.data.trajectory import node_from_trajectory
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.jobs.contract import RESULT_FILE
from aiida_mlip_autopipe.sampling import STAGE_VERSION
from aiida_mlip_autopipe.sampling.contract import REPORT_FILE, SELECTION_FILE
from aiida_mlip_autopipe.structures.trajectory import Trajectory

pytestmark = pytest.mark.integration

SMALL = SoapSettings(n_max=3, l_max=2)
FPS = {'kind': 'fps', 'n_structures': 8, 'test_fraction': 0.25, 'descriptor': SMALL.model_dump(mode='json')}


def make_trajectory(number):
    atoms = bulk('CuAu', 'rocksalt', a=5.2)
    rng = np.random.default_rng(number)
    shape = (10, 2, 3)
    return Trajectory(
        seed_id=f'seed{number}',
        numbers=atoms.numbers,
        pbc=atoms.pbc,
        steps=10 * np.arange(10),
        positions=atoms.positions + 0.1 * rng.normal(size=shape),
        cells=np.tile(atoms.cell.array, (10, 1, 1)),
        energies=rng.normal(size=10),
        forces=rng.normal(size=shape),
        stresses=rng.normal(size=(10, 6)),
        temperatures=rng.uniform(200, 900, size=10),
    )


@pytest.fixture(scope='module')
def inputs(emt_code, tmp_path_factory):
    """All inputs that a selection can have. Their labels and their order have no meaning."""
    trajectories = [make_trajectory(number) for number in range(3)]
    path = tmp_path_factory.mktemp('reference') / 'old.db'
    with connect(path) as database:
        database.write(trajectories[1].frame(4), label_source='dft:vasp:pbe')
    features = np.random.default_rng(0).normal(size=(31, 4)).astype(np.float32)
    request = {'of': 'structures', 'descriptor': SMALL.model_dump(mode='json')}
    about = {'statistics': {'n_features': 4}}
    ids = {one.trajectory_id: 10 for one in trajectories}
    return {
        'settings': orm.Dict(FPS),
        'random_seed': orm.Int(3),
        'groups': orm.Dict({'seed0': 'a', 'seed1': 'b', 'seed2': 'c'}),
        'kinds': orm.Dict({'seed0': 'alloy'}),
        'labels': orm.Dict({'seed1': 'hot'}),
        'stage_version': orm.Str(STAGE_VERSION),
        'reference_dataset': DatasetData.from_file(path),
        'legs': {f'leg{(place * 2) % 3}': node_from_trajectory(one, {}) for place, one in enumerate(trajectories)},
        'evaluations': {'first': node_from_evaluation(trajectories[2], make_trajectory(2), {})},
        'descriptors': {
            'second': node_from_features(features[:30], ids, request, [29, 79], about),
            'first': node_from_features(features[30:], {}, request, [29, 79], about),
        },
    }


@pytest.fixture
def select(inputs, emt_code):
    """Return a function that runs a selection job."""

    def run(environment=None, options=None, **changes):
        record = environment_of().without_calculator().model_dump(mode='json') | (environment or {})
        return run_get_node(
            SelectionCalculation,
            code=emt_code,
            environment=orm.Dict(record),
            metadata={'options': options or {}},
            **inputs | changes,
        )[1]

    return run


def test_the_job_gives_exactly_the_nodes_of_the_calcfunction(inputs, select):
    job = select()
    assert job.is_finished_ok, job.exit_message
    assert job.outputs.result['versions']['package']
    outputs, node = select_frames.run_get_node(**inputs)
    assert node.is_finished_ok, node.exit_message
    assert len(outputs['selection'].get_array('frame')) == 8
    for name, expected in outputs.items():
        found = job.outputs[name]
        assert found.base.caching.get_hash() == expected.base.caching.get_hash()
        assert found.base.attributes.all == expected.base.attributes.all
    for name in outputs['selection'].get_arraynames():
        found, expected = (one.get_array(name) for one in (job.outputs.selection, outputs['selection']))
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def after_the_job(command):
    return {'options': {'append_text': command}}


# Python imports this module first, so the wall time has ended before the selection begins.
SLOW_START = """\
mkdir slow
echo 'import time; time.sleep(2)' > slow/sitecustomize.py
export PYTHONPATH="$PWD/slow:${PYTHONPATH:-}"
"""
CHANGES = {
    300: after_the_job(f'rm {RESULT_FILE}'),
    301: after_the_job(f'truncate -s 100 {RESULT_FILE}'),
    310: {'stage_version': 'another'},
    324: {'environment': {'numpy': '1.0'}},
    400: {'options': {'max_wallclock_seconds': 1, 'prepend_text': SLOW_START}},
    401: {'settings': {**FPS, 'max_force_eV_per_A': 1e-9}},
    402: after_the_job(f'truncate -s 100 {SELECTION_FILE}'),
}


@pytest.mark.parametrize('status', CHANGES)
def test_each_failure_has_a_specific_exit_code_and_is_not_taken_from_the_cache(select, status):
    node_types = {'stage_version': orm.Str, 'settings': orm.Dict}
    changes = {
        name: node_types[name](value) if name in node_types else value for name, value in CHANGES[status].items()
    }
    node = select(**changes)
    assert node.exit_status == status, node.exit_message
    assert not node.base.caching.is_valid_cache
    assert 'selection' not in node.outputs


def test_a_selection_without_its_report_is_unreadable(select):
    assert select(**after_the_job(f'rm {REPORT_FILE}')).exit_status == 402
