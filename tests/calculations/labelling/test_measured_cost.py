"""The cost of labels on a computer, from nodes of labels."""

from uuid import uuid4

import numpy as np
import pytest
from aiida import orm
from aiida.common import LinkType
from ase.build import bulk
from ase.io import write

from aiida_mlip_autopipe.calculations.labelling.label import LabellingCalculation
from aiida_mlip_autopipe.calculations.labelling.measured_cost import measured_cost, measured_cost_of_processes
from aiida_mlip_autopipe.calculators.kinds.gpaw import GPAWSettings
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.labels import LabelsData
from aiida_mlip_autopipe.labelling import LABELLING_VERSION, Failure, Label, label_key
from aiida_mlip_autopipe.labelling.cost import LARGEST_ERROR, OF_ANOTHER_COMPUTER, predict_core_s
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory

FAST, ACCURATE, EMT = ({'kind': 'gpaw', 'preset': 'fast'}, {'kind': 'gpaw', 'preset': 'accurate'}, {'kind': 'emt'})
STRUCTURES = [bulk('Si', cubic=cubic, a=a) for cubic in (False, True) for a in (5.3, 5.4, 5.5)]


def make_level(code, number):
    return LevelOfTheory(method='dft', code=code, name=f'dft:{code}', parameters={'number': number})


@pytest.fixture
def computer(tmp_path):
    return orm.Computer(str(uuid4()), 'localhost', 'an empty computer', 'core.local', 'core.direct').store()


@pytest.fixture
def store(tmp_path):
    """Return a function that stores a job and its labels, which took some seconds with two threads."""

    def make(computer, calculator, level, seconds, variant=''):
        write(tmp_path / 'silicon.traj', STRUCTURES)
        rows = list(range(len(seconds)))
        inputs = {
            'dataset': DatasetData.from_file(tmp_path / 'silicon.traj'),
            'rows': orm.List(rows[::-1]),
            'calculator': orm.Dict(calculator),
        }
        job = orm.CalcJobNode(computer=computer, process_type=LabellingCalculation.build_process_type())
        for name, node in inputs.items():
            job.base.links.add_incoming(node.store(), LinkType.INPUT_CALC, name)
        job.store()
        outcomes = [
            Failure('no convergence', 'not_converged', seconds=1000.0)
            if one is None
            else Label(-1.0, 'total', np.zeros((len(STRUCTURES[row]), 3)), seconds=one, threads=2)
            for row, one in zip(rows, seconds, strict=True)
        ]
        numbers = [STRUCTURES[row].numbers for row in rows]
        keys = [label_key(STRUCTURES[row], level.hash) for row in rows]
        labels = LabelsData.from_outcomes(numbers, keys, outcomes, level, LABELLING_VERSION, variant=variant)
        labels.base.links.add_incoming(job, LinkType.CREATE, 'labels')
        labels.store()

    return make


def predicted(calculator):
    return [predict_core_s(atoms, GPAWSettings.model_validate(calculator)) for atoms in STRUCTURES]


def test_labels_of_dft_with_other_settings_correct_the_prediction(computer, store):
    seconds = [1.5 * cost for cost in predicted(FAST)]
    store(computer, FAST, make_level('gpaw', 1), [*seconds[:5], None])
    found = measured_cost(ACCURATE, make_level('gpaw', 2), computer)
    assert (found.factor, found.n_labels) == (pytest.approx(3.0), 5)
    assert found.uncertainty == pytest.approx(1.0)


def test_with_few_labels_the_uncertainty_is_that_of_the_cost_model(computer, store):
    store(computer, FAST, make_level('gpaw', 1), predicted(FAST)[:2])
    assert measured_cost(FAST, make_level('gpaw', 1), computer).uncertainty == LARGEST_ERROR


def test_without_a_cost_model_only_labels_at_the_same_level_count_and_the_cost_scales_with_the_atoms(computer, store):
    store(computer, EMT, make_level('emt', 1), [0.2 * len(atoms) for atoms in STRUCTURES])
    store(computer, EMT, make_level('emt', 2), [7.0] * 3)
    found = measured_cost(EMT, make_level('emt', 1), computer)
    assert (found.factor, found.n_labels) == (pytest.approx(0.4), 6)
    assert predict_core_s(STRUCTURES[-1], None, found) == pytest.approx(3.2)


def test_neither_labels_on_other_computers_nor_repeated_ones_count(computer, store, emt_code):
    store(emt_code.computer, FAST, make_level('gpaw', 1), predicted(FAST))
    store(computer, FAST, make_level('gpaw', 1), predicted(FAST), variant='k_points')
    found = measured_cost(FAST, make_level('gpaw', 1), computer)
    assert (found.factor, found.n_labels, found.uncertainty) == (1.0, 0, OF_ANOTHER_COMPUTER)
    assert predict_core_s(STRUCTURES[0], None, found) is None


def test_the_cost_of_processes_of_other_plugins_is_that_of_an_atom_on_the_same_computer_and_level(computer, emt_code):
    def store_process(computer, level, seconds):
        code = orm.InstalledCode(label=f'pw-{uuid4()}', computer=computer, filepath_executable='/usr/bin/pw.x').store()
        process = orm.WorkChainNode()
        process.set_process_label('ProcessLabellingWorkChain')
        # A process that calls others returns their outputs, too.
        parent = orm.WorkChainNode()
        parent.set_process_label('LabellingWorkChain')
        atoms = STRUCTURES[-1]
        label = Label(-1.0, 'total', np.zeros((len(atoms), 3)), seconds=seconds, threads=4)
        keys = [label_key(atoms, level.hash)]
        labels = LabelsData.from_outcomes([atoms.numbers], keys, [label], level, LABELLING_VERSION).store()
        for node in (process, parent):
            node.base.links.add_incoming(code, LinkType.INPUT_WORK, 'code')
            node.store()
            labels.base.links.add_incoming(node, LinkType.RETURN, f'labels_{node.pk}')

    level = make_level('quantum-espresso', str(uuid4()))
    assert measured_cost_of_processes(level, computer).n_labels == 0
    store_process(computer, level, 6.0)
    store_process(computer, make_level('quantum-espresso', 2), 60.0)
    store_process(emt_code.computer, level, 60.0)
    found = measured_cost_of_processes(level, computer)
    assert (found.factor, found.n_labels) == (pytest.approx(3.0), 1)
