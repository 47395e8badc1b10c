"""The calcfunctions of rounds: the decision about a model, and the disagreement of models as an input of selections."""

from dataclasses import replace

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from support.assessments import *  # noqa: F403
from support.assessments import make_leg, rattled
from support.rows import *  # noqa: F403

from aiida_mlip_autopipe import sampling
from aiida_mlip_autopipe.assessment.assessment import Assessment
from aiida_mlip_autopipe.assessment.contract import HotRun
from aiida_mlip_autopipe.assessment.predictions import Predictions
from aiida_mlip_autopipe.calculations.rounds.compare_models import COMPARE_VERSION, compare_models
from aiida_mlip_autopipe.calculations.rounds.judge_model import JUDGE_VERSION, judge_model
from aiida_mlip_autopipe.calculations.select_frames import select_frames
from aiida_mlip_autopipe.data.assessment import node_from_assessment
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.data.trajectory import trajectory_from_node
from aiida_mlip_autopipe.data.uncertainties import uncertainties_of_rows, uncertainties_of_trajectories
from aiida_mlip_autopipe.rounds.dimers import DimerCurve
from aiida_mlip_autopipe.storage import export_dataset
from aiida_mlip_autopipe.structures.seed import Seed

RUNS = (HotRun(seed_id='seed', outcome='completed', n_steps=5),)
CURVES = {'Cu-Cu': DimerCurve(np.array([1.0, 2.0, 3.0]), np.array([5.0, -1.0, 0.0]))}


@pytest.fixture
def dataset(tmp_path, make_rows):
    """Four rows with three seeds as parents."""
    rows = make_rows(4)
    named = [
        replace(row, key_value_pairs=row.key_value_pairs | {'parent': f'seed-{max(number, 1)}'})
        for number, row in enumerate(rows)
    ]
    export_dataset(tmp_path / 'rows.db', named)
    return DatasetData.from_file(tmp_path / 'rows.db').store()


def make_assessment(dataset, error, seed=1, **fields):
    """Return the node of a model with normally distributed errors of the forces."""
    labels = Predictions.from_rows([dataset.rows()[index] for index in (3, 1, 2)])
    noise = np.random.Generator(np.random.PCG64(seed)).standard_normal(labels.forces.shape)
    frames = replace(labels, forces=labels.forces + error * noise)
    none = labels.subset([])
    return node_from_assessment(Assessment(frames, (3, 1, 2), {}, none, CURVES, RUNS, **fields), {}).store()


def judge(dataset, new, former, rows=(1, 2, 3)):
    return run_get_node(
        judge_model,
        new=new,
        former=former,
        starting=former,
        dataset=dataset,
        rows=orm.List(list(rows)),
        max_drift_eV_A=orm.Float(0.02),
        random_seed=orm.Int(1),
        stage_version=orm.Str(JUDGE_VERSION),
    )


def test_the_decision_is_a_node_with_the_numbers_of_the_labelled_rows(dataset):
    found, node = judge(dataset, make_assessment(dataset, 0.1), make_assessment(dataset, 0.2))
    assert node.is_finished_ok
    assert (found['accepted'], found['failures'], found['n_frames'], found['n_groups']) == (True, [], 3, 3)
    assert found['gain']['value'] == pytest.approx(0.5)
    assert found['errors']['new']['force_eV_A']['value'] == pytest.approx(0.1, rel=0.2)
    assert found['errors']['new']['energy_eV_atom'] == {'value': 0.0, 'upper_limit': 0.0}


def test_a_model_with_larger_errors_is_refused(dataset):
    found, node = judge(dataset, make_assessment(dataset, 0.3), make_assessment(dataset, 0.2))
    assert node.is_finished_ok
    assert [one['condition'] for one in found['failures']] == ['smaller_error']


def test_rows_that_were_not_assessed_end_the_calcfunction_with_an_exit_code(dataset):
    _, node = judge(dataset, make_assessment(dataset, 0.1), make_assessment(dataset, 0.2), rows=(0, 1, 2))
    assert (node.exit_status, list(node.outputs)) == (400, [])


def compare(nodes):
    return run_get_node(compare_models, stage_version=orm.Str(COMPARE_VERSION), assessments=nodes)


def make_legs():
    return [make_leg(SeedData.from_seed(Seed(rattled('Cu', number))).store(), 3).store() for number in range(2)]


def assess_legs(legs, seed, n_rows=0):
    """Return the node of a model with normally distributed forces. The second frame of the first leg is the worst."""
    numbers = [np.full(4, 29)] * (n_rows + 6)
    rng = np.random.Generator(np.random.PCG64(seed))
    scale = np.where(np.arange(n_rows + 6) == n_rows + 1, 5.0, 1.0)
    forces = [one * rng.standard_normal((4, 3)) for one in scale]
    frames = Predictions.from_arrays(numbers, np.zeros(len(numbers)), forces, np.zeros((len(numbers), 6)))
    sizes = {trajectory_from_node(leg).trajectory_id: 3 for leg in legs}
    return node_from_assessment(Assessment(frames, tuple(range(n_rows)), sizes, frames.subset([])), {}).store()


def test_the_disagreement_of_models_belongs_to_rows_and_frames():
    legs = make_legs()
    found, node = compare({f'tuning_{seed}': assess_legs(legs, seed, n_rows=2) for seed in range(3)})
    assert node.is_finished_ok
    of_legs = uncertainties_of_trajectories(found)
    assert {name: len(one) for name, one in of_legs.items()} == {
        trajectory_from_node(leg).trajectory_id: 3 for leg in legs
    }
    first = of_legs[trajectory_from_node(legs[0]).trajectory_id]
    assert first.force_eV_A.argmax() == 1
    np.testing.assert_array_equal(
        uncertainties_of_rows(found, [1, 0]).force_eV_A, found.get_array('force_eV_A')[[1, 0]]
    )


def test_models_that_were_assessed_on_different_frames_are_not_compared():
    legs = make_legs()
    nodes = {'a': assess_legs(legs, 1), 'b': assess_legs(legs, 2, n_rows=1)}
    assert compare(nodes)[1].exit_status == 400
    assert compare({'a': nodes['a']})[1].exit_status == 400


def test_the_selection_uses_the_disagreement_of_models():
    legs = make_legs()
    uncertainties, _ = compare({f'tuning_{seed}': assess_legs(legs, seed) for seed in range(3)})
    inputs = {
        'settings': orm.Dict({'kind': 'environment', 'n_structures': 1, 'n_clusters': 1}),
        'random_seed': orm.Int(1),
        **{name: orm.Dict({}) for name in ('groups', 'kinds', 'labels')},
        'stage_version': orm.Str(sampling.STAGE_VERSION),
        'legs': {f'leg_{number}': leg for number, leg in enumerate(legs)},
    }
    plain, node = run_get_node(select_frames, **inputs)
    assert node.is_finished_ok
    found, node = run_get_node(select_frames, **inputs, uncertainties=uncertainties)
    assert node.is_finished_ok
    chosen = found['selection']
    assert chosen.base.attributes.get('trajectory_ids') == [trajectory_from_node(legs[0]).trajectory_id]
    assert chosen.get_array('frame').tolist() == [1]
    assert 'uncertainties' in found['report'].get_dict()
    assert 'uncertainties' not in plain['report'].get_dict()
