"""The rows of a round are added to those of the earlier rounds."""

from aiida import orm
from support.rounds import dataset_of_rounds

from aiida_mlip_autopipe.calculations.rounds.merge_rounds import merge_rounds

FIRST = [('a', None, 1), ('b', 'test', 1), ('c', 'calibration', 1)]


def merge(tmp_path, second):
    earlier = dataset_of_rounds(tmp_path, FIRST, 'first.db')
    new = dataset_of_rounds(tmp_path, second, 'second.db')
    return merge_rounds.run_get_node(earlier=earlier, dataset=new, stage_version=orm.Str('test'))


def test_rows_keep_their_order_their_round_and_their_role(tmp_path):
    second = [('a', None, 2), ('b', 'test', 2), ('c', None, 2)]
    outputs, node = merge(tmp_path, second)
    assert node.is_finished_ok, node.exit_message
    rows = outputs['merged'].rows()
    found = [(row.key_value_pairs['parent'], row.provenance.role, row.provenance.round) for row in rows]
    assert found == [*FIRST, *second]


def test_a_group_that_is_tested_in_one_round_and_trained_on_in_another_is_refused(tmp_path):
    _, node = merge(tmp_path, [('b', None, 2), ('d', None, 2)])
    assert node.exit_status == 400
    assert 'b' in node.exit_message
