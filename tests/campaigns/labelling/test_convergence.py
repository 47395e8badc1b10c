"""Recommended settings of a labeller, found by real jobs on this machine."""

from __future__ import annotations

import pytest
from support.alloy_rows import alloy_rows
from support.errors import refused
from typer.testing import CliRunner

from aiida_mlip_autopipe.campaigns.labelling.convergence import plan_convergence, run_convergence
from aiida_mlip_autopipe.cli.app import app
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.labelling import LABELLERS
from aiida_mlip_autopipe.labelling.convergence import Series
from aiida_mlip_autopipe.storage import export_dataset

RC = Series('parameters.rc', (3.0, 5.0, 9.0))


SETTINGS = """\
labelling:
  kind: custom
  code: {code}
  calculator: ase.calculators.lj:LennardJones
  parameters: {{sigma: 2.3, epsilon: 0.1, rc: 10.0, smooth: true}}
  level_name: dft:lj:test
  energy: total
"""


@pytest.fixture
def dataset(tmp_path):
    export_dataset(tmp_path / 'alloys.db', alloy_rows(4))
    return tmp_path / 'alloys.db'


@pytest.fixture
def lennard_jones(emt_code):
    return {
        'kind': 'custom',
        'code': emt_code.full_label,
        'calculator': 'ase.calculators.lj:LennardJones',
        'parameters': {'sigma': 2.3, 'epsilon': 0.1, 'rc': 10.0, 'smooth': True},
        'level_name': 'dft:lj:test',
        'energy': 'total',
    }


def plan(labelling, dataset, *series, **options):
    settings = LABELLERS.load(labelling['kind']).settings_class.model_validate(labelling)
    return plan_convergence(settings, dataset, series, **options)


def test_the_plan_of_gpaw_varies_the_cutoff_and_the_k_points_and_has_a_cost(dataset):
    found = plan({'kind': 'gpaw'}, dataset, n_structures=2)
    assert [one.name for one in found.series] == ['plane_wave_cutoff_eV', 'kspacing_per_A']
    # Twelve points, two structures, and their expanded copies.
    assert found.n_calculations == 12 * 2 * 2
    assert len(found.rows) == len(found.structures) == 2
    dearer = plan({'kind': 'gpaw', 'spin_polarized': True}, dataset, n_structures=2)
    assert 0 < found.core_s < dearer.core_s


def test_the_cost_of_a_calculator_without_a_cost_model_is_unknown(dataset, lennard_jones):
    assert plan(lennard_jones, dataset, RC, n_structures=1).core_s is None


@pytest.mark.parametrize(
    ('change', 'series', 'code', 'text'),
    [
        ({}, (), Code.VALUE_MISSING, '--vary'),
        ({}, (Series('parameters.encut', (1.0, 2.0, 3.0)),), Code.KEY_UNKNOWN, 'parameters.encut'),
        ({'max_atoms': 3}, (RC,), Code.TOO_MANY_ATOMS, 'max_atoms: 3'),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(dataset, lennard_jones, change, series, code, text):
    with refused(code, text):
        plan(lennard_jones | change, dataset, *series)


def test_values_from_the_most_expensive_to_the_cheapest_are_refused_if_the_cost_is_known(dataset):
    with refused(Code.WRONG_PATTERN, 'kspacing_per_A', '0.3', '0.8'):
        plan({'kind': 'gpaw'}, dataset, Series('kspacing_per_A', (0.3, 0.5, 0.8)), n_structures=1)


@pytest.mark.integration
def test_the_command_prints_the_errors_and_the_lines_for_the_config(dataset, emt_code, tmp_path):
    (tmp_path / 'labelling.yaml').write_text(SETTINGS.format(code=emt_code.full_label))
    arguments = ['label', 'converge', str(dataset), '--settings', str(tmp_path / 'labelling.yaml'), '--structures', '1']
    vary = ['--vary', 'parameters.rc=3,5,9']
    planned = CliRunner().invoke(app, [*arguments, *vary, '--dry-run'])
    assert planned.exit_code == 0, planned.output
    assert '6 calculations' in planned.stdout
    done = CliRunner().invoke(app, [*arguments, *vary, '--force-error', '0.5', '--energy-error', '0.1'])
    assert done.exit_code == 0, done.output
    assert 'rc: 5.0' in done.stdout or 'rc: 3.0' in done.stdout


@pytest.mark.integration
def test_a_code_without_the_calculator_is_refused_before_anything_is_computed(dataset, lennard_jones):
    missing = lennard_jones | {'calculator': 'ase.calculators.lj:Missing'}
    found = plan(missing, dataset, RC, n_structures=1)
    with refused(Code.SELF_TEST_FAILED, 'Missing'):
        run_convergence(found, force_error_eV_A=0.1, energy_error_eV=0.1, notify=print)
