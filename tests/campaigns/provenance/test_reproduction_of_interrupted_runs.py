"""Rows of a campaign whose jobs were interrupted are computed again, and are identical bit for bit."""

from __future__ import annotations

import pytest

from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.calculations.labelling.label import LabellingCalculation
from aiida_mlip_autopipe.campaigns.provenance.origin import find_origin, open_dataset
from aiida_mlip_autopipe.campaigns.provenance.reproduction import reproduce_rows

pytestmark = [pytest.mark.integration, pytest.mark.long]

CODE = 'autopipe-emt@localhost'
# A change to the package in the jobs: the first exploration job reaches its wall-time limit after some steps, and the
# first labelling job is killed after two labels.
INTERRUPT = """
import os, signal, sys
from pathlib import Path
module = sys.orig_argv[-2] if sys.orig_argv[-1] == 'job.json' else ''
once = Path(__file__).with_name(f'{module}.done')
if module == 'aiida_mlip_autopipe.exploration' and not once.exists():
    from aiida_mlip_autopipe.jobs.interruptions import Interruptions
    once.touch()
    check, calls = Interruptions.check, []
    def check_or_end(self, *arguments):
        calls.append(None)
        return 'out_of_walltime' if len(calls) > 12 else check(self, *arguments)
    Interruptions.check = check_or_end
if module == 'aiida_mlip_autopipe.labelling' and not once.exists():
    from aiida_mlip_autopipe.labelling.labels_file import LabelsFile
    once.touch()
    append = LabelsFile.append
    def append_or_die(self, *arguments):
        append(self, *arguments)
        if len(self.outcomes) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    LabelsFile.append = append_or_die
"""


@pytest.fixture(scope='module')
def interrupted(run_campaign, tmp_path_factory):
    """Lennard-Jones, NVT, in two legs; two jobs label the rows with EMT."""
    folder = tmp_path_factory.mktemp('interrupt')
    (folder / 'sitecustomize.py').write_text(INTERRUPT)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv('PYTHONPATH', str(folder))
        campaign = run_campaign(
            name='interrupted',
            generation=[{'kind': 'structures', 'files': ['al.xyz'], 'perturb': {'rattle_A': 0.05}}],
            calculator={'kind': 'lj', 'epsilon_eV': 0.4, 'sigma_A': 2.3, 'cutoff_A': 6.0},
            execution={'code': CODE},
            exploration={'temperature_K': 300, 'ensemble': 'nvt', 'n_steps': 30, 'frame_interval': 3},
            sampling={'kind': 'random', 'n_structures': 6},
            labelling={'kind': 'calculator', 'calculator': {'kind': 'emt'}, 'code': CODE, 'isolated_atoms': False},
        )
    assert campaign.is_finished_ok, campaign.exit_message
    return campaign


def jobs_of(campaign, process):
    jobs = [job for job in campaign.called_descendants if job.process_class is process]
    return sorted(jobs, key=lambda job: job.pk)


def test_rows_after_a_wall_time_limit_and_labels_of_a_killed_job_are_identical(interrupted):
    first, second = jobs_of(interrupted, ExplorationCalculation)
    assert (first.exit_status, second.exit_status) == (400, 0)
    assert 0 < first.outputs.result['last_step'] == second.outputs.result['first_step'] < 30
    killed, rest = jobs_of(interrupted, LabellingCalculation)
    assert (killed.exit_status, rest.exit_status) == (401, 0)
    assert [len(job.outputs.labels.keys) for job in (killed, rest)] == [2, 4]

    dataset = open_dataset(interrupted.uuid)
    rows = dataset.rows()
    assert {row.provenance.exploration for row in rows} == {first.uuid, second.uuid}
    assert {find_origin(row).labelling.uuid for row in rows} == {killed.uuid, rest.uuid}
    found = list(reproduce_rows(dataset, [row.id for row in rows]))
    assert [(one.frame.outcome, one.frame.differences) for one in found] == [('identical', ())] * 6
    assert [(one.label.outcome, one.label.differences) for one in found] == [('identical', ())] * 6
    assert all(one.is_identical for one in found)
