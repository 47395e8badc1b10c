"""Bounds on the errors of a model, from its calibration rows, and how often new labels are below them."""

import numpy as np
import pytest
from aiida import orm
from support.rounds import dataset_of_rounds

from aiida_mlip_autopipe.assessment.assessment import Assessment
from aiida_mlip_autopipe.assessment.deviations import Deviations
from aiida_mlip_autopipe.assessment.predictions import Predictions
from aiida_mlip_autopipe.calculations.rounds.calibrate_bounds import calibrate_bounds
from aiida_mlip_autopipe.calculations.rounds.estimate_number_of_labels import estimate_number_of_labels
from aiida_mlip_autopipe.calculations.rounds.measure_bounds import measure_bounds
from aiida_mlip_autopipe.data.assessment import node_from_assessment
from aiida_mlip_autopipe.data.uncertainties import node_from_uncertainties

N_ROWS = 12
N_FRAMES = 5
NOTHING = Predictions.from_arrays([], [], [], [])


def assessment_with_error(rows, error):
    """Return an assessment whose forces differ from the labels by an error, in eV/Å."""
    labels = Predictions.from_rows(rows)
    wrong = Predictions(labels.n_atoms, labels.numbers, labels.energies, labels.forces + error, labels.stresses)
    return Assessment(wrong, tuple(range(len(rows))), {'leg': N_FRAMES}, NOTHING)


def uncertainties_of(assessment, values):
    n = len(values)
    return node_from_uncertainties(
        Deviations(np.array(values), np.full(n, 0.1), np.full(n, 0.01), np.full(n, 12)), assessment
    ).store()


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    rows = [(f'group{number}', 'calibration', 1) for number in range(N_ROWS)]
    return dataset_of_rounds(tmp_path_factory.mktemp('bounds'), rows)


def calibrate(dataset, error, explored, target=0.3):
    assessed = assessment_with_error(dataset.rows(), error)
    return calibrate_bounds.run_get_node(
        assessment=node_from_assessment(assessed, {}).store(),
        uncertainties=uncertainties_of(assessed, [*np.full(N_ROWS, 0.1), *explored]),
        dataset=dataset,
        rows=orm.List(list(range(N_ROWS))),
        kinds=orm.Dict({'leg': 'alloy'}),
        target=orm.Float(target),
        stage_version=orm.Str('test'),
    )


def test_the_bound_of_a_typical_frame_is_the_error_of_the_calibration_rows(dataset):
    # The score of each row is 0.2 / (0.1 + 0.1), so a frame with the uncertainty 0.1 has the bound 0.2.
    result, node = calibrate(dataset, 0.2, [0.1, 0.1, 0.1, 0.3, 0.9])
    assert node.is_finished_ok, node.exit_message
    force = result['bounds']['force_eV_A']
    assert force['pooled'] == pytest.approx(1.0)
    assert (force['n_scores'], force['n_groups']) == (N_ROWS, N_ROWS)
    # The bounds are 0.2, 0.2, 0.2, 0.4 and 1.0, and twice the target is 0.6.
    assert (result['n_frames'], result['fraction_bounded']) == (5, pytest.approx(0.8))


def test_a_frame_that_a_model_cannot_evaluate_is_not_bounded(dataset):
    result, _ = calibrate(dataset, 0.2, [0.1, 0.1, 0.1, 0.1, np.nan])
    assert result['fraction_bounded'] == pytest.approx(0.8)


def test_a_model_that_fails_for_a_calibration_row_has_no_bounds(dataset):
    _, node = calibrate(dataset, np.nan, np.full(N_FRAMES, 0.1))
    assert node.exit_status == 400


def test_larger_errors_than_before_are_measured_as_a_smaller_coverage(dataset):
    bounds, _ = calibrate(dataset, 0.2, np.full(N_FRAMES, 0.1))
    rows = dataset.rows()[:N_FRAMES]
    drawn = orm.ArrayData({'frame': np.arange(N_FRAMES), 'step': np.array([row.provenance.step for row in rows])})
    drawn.base.attributes.set_many(
        {'trajectory_ids': ['leg'] * N_FRAMES, 'seed_ids': [row.provenance.seed_id for row in rows]}
    )
    drawn.store()
    for error, fraction in ((0.15, 1.0), (0.25, 0.0)):
        assessed = assessment_with_error(dataset.rows(), error)
        measured = measure_bounds(
            bounds=bounds,
            assessment=node_from_assessment(assessed, {}).store(),
            uncertainties=uncertainties_of(assessed, np.full(N_ROWS + N_FRAMES, 0.1)),
            drawn=drawn,
            dataset=dataset,
            rows=orm.List(list(range(N_FRAMES))),
            stage_version=orm.Str('test'),
        )
        assert measured['force_eV_A']['fraction'] == fraction
        assert measured['force_eV_A']['n_errors'] == N_FRAMES


def test_the_number_of_labels_is_estimated_from_the_errors_of_models_with_fewer_labels(dataset):
    rows = dataset.rows()
    errors = {'quarter': 0.4, 'half': 0.3, 'all': 0.2}
    result, node = estimate_number_of_labels.run_get_node(
        dataset=dataset,
        rows=orm.List(list(range(N_ROWS))),
        n_labels=orm.Dict({'quarter': 10, 'half': 20, 'all': 40}),
        target=orm.Float(0.1),
        random_seed=orm.Int(1),
        stage_version=orm.Str('test'),
        assessments={
            name: node_from_assessment(assessment_with_error(rows, error), {}).store() for name, error in errors.items()
        },
    )
    assert node.is_finished_ok, node.exit_message
    assert [n for n, _ in result['learning_curve']] == [10, 20, 40]
    assert [error for _, error in result['learning_curve']] == pytest.approx([0.4, 0.3, 0.2])
    assert 40 < result['low'] < result['median'] < result['high']
