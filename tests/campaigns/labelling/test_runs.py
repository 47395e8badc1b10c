"""The warnings and the state of a labelling run of a dataset."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.common import LinkType
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from support.rows import _make_provenance

from aiida_mlip_autopipe.calculations.labelling.label import LabellingCalculation
from aiida_mlip_autopipe.campaigns.labelling.progress import read_labelling
from aiida_mlip_autopipe.campaigns.labelling.runs import warnings_of_rows
from aiida_mlip_autopipe.config.labelling import LabellingConfig
from aiida_mlip_autopipe.labelling import Failure, Label
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE
from aiida_mlip_autopipe.labelling.labels_file import LabelsFile
from aiida_mlip_autopipe.storage import make_row
from aiida_mlip_autopipe.storage.relabel import relabel
from aiida_mlip_autopipe.structures.rows.labels import RowLabels
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory

DFT = LevelOfTheory(method='dft', code='vasp', name='dft:vasp:pbe')


def make_oxide(level):
    atoms = bulk('NiO', 'rocksalt', 4.2)
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=0 * atoms.positions)
    return make_row(atoms, _make_provenance(architecture=level.code), {'kind': 'structures'}, level=level)


@pytest.mark.parametrize('is_labelled_again', [False, True])
@pytest.mark.parametrize(
    ('code', 'model', 'parameters', 'n_warnings'),
    [
        ('sevennet', '7net-0', {}, 1),
        ('sevennet', '7net-mf-0', {'modal': 'PBE'}, 1),
        ('sevennet', '7net-mf-0', {'modal': 'R2SCAN'}, 0),
        ('emt', '', {}, 0),
    ],
)
def test_the_potential_of_the_rows_determines_whether_different_U_values_give_a_warning(
    code, model, parameters, n_warnings, is_labelled_again
):
    name = ':'.join(filter(None, ['mlip', code, model]))
    row = make_oxide(LevelOfTheory(method='mlip', code=code, name=name, parameters=parameters))
    if is_labelled_again:
        row = relabel(row, RowLabels(row.labels, DFT))
    config = LabellingConfig.model_validate({'labelling': {'kind': 'gpaw', 'plane_wave_cutoff_eV': 900.0}})
    found = warnings_of_rows(config, [row])
    assert len(found) == n_warnings
    assert all(f'{model} ' in text and '{Ni: {d: 6.2}}' in text for text in found)


def test_a_cutoff_that_is_too_low_for_the_elements_of_the_rows_gives_a_warning():
    config = LabellingConfig.model_validate({'labelling': {'kind': 'gpaw', 'preset': 'fast'}})
    (text,) = warnings_of_rows(config, [make_oxide(DFT)])
    assert 'labelling.plane_wave_cutoff_eV: got 400' in text


def test_the_labels_of_a_running_job_on_this_machine_are_counted(emt_code, tmp_path):
    run = orm.WorkChainNode().store()
    for number, variant in enumerate(('', 'mixing')):
        job = orm.CalcJobNode(computer=emt_code.computer, process_type=LabellingCalculation.build_process_type())
        request = orm.Dict({'variant': variant}).store()
        job.base.links.add_incoming(request, LinkType.INPUT_CALC, 'request')
        job.base.links.add_incoming(run, LinkType.CALL_CALC, f'labels_{number}')
        job.set_process_state('waiting')
        job.store()
        folder = tmp_path / str(number)
        folder.mkdir()
        job.set_remote_workdir(str(folder))
        assert read_labelling(run).n_labelled == number * 2
        file = LabelsFile(folder / LABELS_FILE)
        file.append('label-0', Label(0.0, 'total', np.zeros((1, 3))))
        file.append('label-1', Failure('no convergence', 'not_converged'))
        file.append('label-2', Label(0.0, 'total', np.zeros((1, 3))))
        file.append('isolated-Cu', Label(0.0, 'total', np.zeros((1, 3))))
    # A half-written line does not count.
    (tmp_path / '0' / LABELS_FILE).open('a').write('{"key": "label-3"')
    found = read_labelling(run)
    assert (found.n_labelled, found.n_failed, found.n_jobs_running) == (2, 1, 2)
    # The parser of the job will refuse a damaged file.
    (tmp_path / '0' / LABELS_FILE).open('a').write('}\n')
    assert read_labelling(run).n_labelled == 0
