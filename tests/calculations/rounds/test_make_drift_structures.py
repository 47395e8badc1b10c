"""The structures on which the drift of models is measured."""

import numpy as np
from aiida import orm
from aiida.engine import run_get_node

from aiida_mlip_autopipe.calculations.rounds.make_drift_structures import make_drift_structures
from aiida_mlip_autopipe.training.replay import REPLAY_VERSION, drift_structures


def make(*supported):
    return run_get_node(
        make_drift_structures,
        elements=orm.List(['Si']),
        n_structures=orm.Int(3),
        random_seed=orm.Int(2),
        stage_version=orm.Str(REPLAY_VERSION),
        **({'supported': orm.List(list(supported))} if supported else {}),
    )


def test_the_structures_are_stored_without_loss_of_precision():
    found, node = make()
    assert node.is_finished_ok
    expected = drift_structures(['Si'], 3, 2)
    for atoms, one in zip(found.structures(), expected, strict=True):
        np.testing.assert_array_equal(atoms.positions, one.positions)
        np.testing.assert_array_equal(atoms.cell.array, one.cell.array)
        assert atoms.numbers.tolist() == one.numbers.tolist()


def test_a_model_without_other_elements_ends_the_calcfunction_with_an_exit_code():
    assert make('Si')[1].exit_status == 400
