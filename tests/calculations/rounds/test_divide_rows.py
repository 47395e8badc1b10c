"""Which rows the training runs of a round use, and for what."""

import pytest
from aiida import orm
from support.rounds import dataset_of_rounds

from aiida_mlip_autopipe.calculations.rounds.divide_rows import divide_rows

ROWS = [
    *[(f'train{number}', None, 1) for number in range(8)],
    *[(f'train{number}', None, 2) for number in range(8)],
    *[(f'test{number}', 'test', 1) for number in range(3)],
    *[(f'before{number}', 'calibration', 1) for number in range(3)],
    *[(f'now{number}', 'calibration', 2) for number in range(3)],
]


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return dataset_of_rounds(tmp_path_factory.mktemp('rounds'), ROWS)


def divide(dataset, number=0, fraction=1.0, of_round=2):
    outputs, node = divide_rows.run_get_node(
        dataset=dataset,
        tuning=orm.Dict({'round': of_round, 'number': number, 'fraction': fraction}),
        random_seed=orm.Int(5),
        stage_version=orm.Str('test'),
    )
    assert node.is_finished_ok, node.exit_message
    return outputs['splits'].get_list(), outputs['random_seed'].value


def groups_in(splits, *names):
    return {group for (group, _, _), split in zip(ROWS, splits, strict=True) if split in names}


def test_test_rows_and_calibration_rows_of_this_round_are_not_trained_on(dataset):
    splits, _ = divide(dataset)
    used = groups_in(splits, 'train', 'valid')
    assert used == {f'train{number}' for number in range(8)} | {f'before{number}' for number in range(3)}
    assert groups_in(splits, 'test') == {f'{name}{number}' for name in ('test', 'now') for number in range(3)}


def test_no_group_is_used_for_training_and_validation(dataset):
    splits, _ = divide(dataset)
    assert groups_in(splits, 'valid')
    assert not groups_in(splits, 'train') & groups_in(splits, 'valid')


def test_training_runs_differ_in_their_sets_and_random_seeds(dataset):
    runs = [divide(dataset, number) for number in range(3)]
    assert len({random_seed for _, random_seed in runs}) == 3
    assert len({tuple(splits) for splits, _ in runs}) > 1
    assert divide(dataset, 1) == runs[1]


def test_a_part_of_the_labels_consists_of_whole_groups_and_a_quarter_is_part_of_a_half(dataset):
    quarter, half = (groups_in(divide(dataset, fraction=one)[0], 'train', 'valid') for one in (0.25, 0.5))
    assert len(quarter) == 3
    assert len(half) == 6
    assert quarter < half
