"""The nodes and exit codes of a labelling job."""

import numpy as np
import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.plugins import ParserFactory
from ase.build import bulk
from ase.io import write

from aiida_mlip_autopipe.calculations.labelling.label import LabellingCalculation
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.labelling import Failure, Label, label_key
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE
from aiida_mlip_autopipe.labelling.labels_file import LabelsFile
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory

LEVEL = LevelOfTheory(method='dft', code='gpaw', name='dft:gpaw:pbe', parameters={'functional': 'PBE'})
OUTCOMES = [Label(-1 / 3, 'free_energy', np.ones((1, 3))), Failure('no convergence', 'not_converged')]


@pytest.fixture
def dataset(tmp_path):
    structures = [bulk('Cu', a=a) for a in (3.5, 3.6, 3.7, 3.8)]
    write(tmp_path / 'copper.traj', structures)
    return DatasetData.from_file(tmp_path / 'copper.traj').store(), structures


@pytest.fixture
def parse(emt_code, dataset, tmp_path):
    """Return a function that parses the files of a job on the last three structures of a dataset."""

    def run(result, outcomes=(), variant='', damaged=False):
        node = orm.CalcJobNode(computer=emt_code.computer, process_type=LabellingCalculation.build_process_type())
        inputs = {
            'dataset': dataset[0],
            'rows': orm.List([3, 1, 2]),
            'level': orm.Dict(LEVEL.model_dump(mode='json')),
            'request': orm.Dict({'variant': variant}),
            'labelling_version': orm.Str('7'),
        }
        for name, data in inputs.items():
            node.base.links.add_incoming(data.store(), LinkType.INPUT_CALC, name)
        node.store()
        retrieved = orm.FolderData()
        retrieved.put_object_from_bytes(result.model_dump_json().encode(), contract.RESULT_FILE)
        retrieved.base.links.add_incoming(node, LinkType.CREATE, 'retrieved')
        retrieved.store()
        for row, outcome in zip((3, 1, 2), outcomes, strict=False):
            LabelsFile(tmp_path / LABELS_FILE).append(label_key(dataset[1][row], LEVEL.hash), outcome)
        if damaged:
            (tmp_path / LABELS_FILE).write_text('{"key": "label-0"\n')
        outputs, process = ParserFactory('mlip_autopipe.label').parse_from_node(
            node, store_provenance=False, retrieved_temporary_folder=str(tmp_path)
        )
        return ({'result': outputs} if isinstance(outputs, orm.Dict) else outputs), process

    return run


def make_result(**fields):
    versions = contract.Versions(package='0', python='3', ase='3')
    return contract.Result(**{'outcome': 'completed', 'versions': versions, 'calculator_name': 'gpaw', **fields})


@pytest.mark.parametrize(('outcome', 'status'), [('completed', 0), ('killed', 401), ('out_of_walltime', 400)])
def test_finished_labels_are_attached_whatever_ended_the_job(parse, dataset, outcome, status):
    result = make_result(outcome=outcome, n_frames=2, isolated_atom_energies_eV={'Cu': -0.5})
    outputs, process = parse(result, OUTCOMES, variant='mixing')
    assert process.exit_status == status
    labels = outputs['labels']
    assert labels.keys == [label_key(dataset[1][row], LEVEL.hash) for row in (3, 1)]
    assert [one.to_json() for one in labels.outcomes()] == [one.to_json() for one in OUTCOMES]
    assert (labels.level, labels.isolated_atom_energies_eV) == (LEVEL, {'Cu': -0.5})
    assert labels.base.attributes.get('variant') == 'mixing'
    assert labels.base.attributes.get('method_version') == '7'
    assert labels.base.attributes.get('about')['calculator_name'] == 'gpaw'


def test_labels_of_a_killed_job_that_are_newer_than_its_result_are_attached(parse, dataset):
    outputs, process = parse(make_result(outcome='killed', n_frames=0), OUTCOMES[:1])
    assert process.exit_status == 401
    assert outputs['labels'].keys == [label_key(dataset[1][3], LEVEL.hash)]


def test_a_job_that_finished_no_structure_has_no_labels(parse):
    outputs, process = parse(make_result(outcome='stopped'))
    assert (process.exit_status, set(outputs)) == (400, {'result'})


@pytest.mark.parametrize(
    ('fields', 'damaged', 'status'),
    [
        ({'n_frames': 2}, False, 302),
        ({'n_frames': 2}, True, 303),
        ({'outcome': 'refused', 'code': Code.ELEMENT_UNSUPPORTED, 'message': 'no W'}, False, 323),
        ({'outcome': 'failed', 'message': 'ZeroDivisionError'}, False, 350),
        ({'outcome': 'no_frame', 'message': 'no neighbour'}, False, 411),
    ],
)
def test_each_failure_has_a_specific_exit_code(parse, fields, damaged, status):
    _, process = parse(make_result(**fields), damaged=damaged)
    assert process.exit_status == status


def test_incomplete_labels_are_not_taken_from_the_cache():
    codes = LabellingCalculation.exit_codes
    assert codes.ERROR_OUT_OF_WALLTIME.invalidates_cache
    assert codes.ERROR_KILLED.invalidates_cache
