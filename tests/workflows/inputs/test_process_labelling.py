"""The inputs of processes of other plugins, and what is refused before one starts."""

import json
import sys
from importlib.metadata import version
from importlib.util import find_spec

import pytest
from ase.build import bulk
from support.process_labels import *  # noqa: F403
from support.process_labels import EMT_SETTINGS

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.installation.plugin_versions import read_ase_versions, read_pw_version
from aiida_mlip_autopipe.jobs.resources import JobResources
from aiida_mlip_autopipe.labelling.labellers.ase import AseLabelling
from aiida_mlip_autopipe.labelling.labellers.espresso import VERSION, EspressoLabelling
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.workflows.inputs.process_labelling import mpi_options, process_inputs

pytestmark = pytest.mark.usefixtures('aiida_profile')
needs_plugin = pytest.mark.skipif(find_spec('aiida_quantumespresso') is None, reason='needs the extra espresso')

UPF = '<PP_HEADER element="{}" z_valence="4.0" functional="PBE"/>'
SILICON = [bulk('Si')]


@pytest.fixture
def pw(make_code, tmp_path):
    """Return the label of a code that prints what pw.x prints when it starts."""
    program = tmp_path / 'pw.x'
    program.write_text('#!/bin/sh\necho\necho "     Program PWSCF v.7.2 starts on 30Nov2026 at  5: 0:32"\nexit 1\n')
    program.chmod(0o755)
    return make_code(program, 'quantumespresso.pw')


@pytest.fixture
def espresso(pw, tmp_path):
    """Return a function that makes settings with a pseudopotential of silicon."""
    path = tmp_path / 'Si.UPF'
    path.write_text(UPF.format('Si'))

    def make(**fields):
        given = {'code': pw.full_label, 'plane_wave_cutoff_eV': 400.0, 'pseudopotentials': {'Si': path}}
        return EspressoLabelling(**{**given, **fields})

    return make


def refusal(settings, structures):
    with pytest.raises(AutopipeError) as refused:
        process_inputs(settings, structures, JobResources())
    return refused.value.code


def test_the_version_of_pw_is_read_without_a_job(pw, make_code):
    assert read_pw_version(pw) == '7.2'
    with pytest.raises(AutopipeError) as refused:
        read_pw_version(make_code('/bin/true', 'quantumespresso.pw'))
    assert refused.value.code == Code.CODE_BROKEN


def test_the_versions_of_ase_are_those_of_the_environment_of_the_code(make_code):
    assert read_ase_versions(make_code(sys.executable), 'emt.EMT') == {'ase': version('ase')}
    with pytest.raises(AutopipeError) as refused:
        read_ase_versions(make_code('/bin/true'), 'emt.EMT')
    assert refused.value.code == Code.CODE_BROKEN


@needs_plugin
def test_the_inputs_contain_what_the_level_contains(espresso):
    inputs, level = process_inputs(espresso(), SILICON, JobResources(cpus_per_job=4))
    found = LevelOfTheory.model_validate(level.get_dict())
    assert found.parameters['version'] == inputs['versions'][VERSION] == '7.2'
    assert found.parameters['potentials'] == {'Si': inputs['versions']['Si']}
    assert inputs['pseudos']['Si'].z_valence == 4
    assert 'pseudopotentials' not in json.dumps(inputs['settings'].get_dict())
    assert inputs['options']['withmpi'] is True
    assert inputs['options']['resources'] == {'num_machines': 1, 'num_mpiprocs_per_machine': 4}


@needs_plugin
def test_the_same_pseudopotential_is_stored_once(espresso):
    first, second = (process_inputs(espresso(), SILICON, JobResources())[0]['pseudos']['Si'] for _ in range(2))
    first.store()
    again = process_inputs(espresso(), SILICON, JobResources())[0]['pseudos']['Si']
    assert again.uuid == first.uuid != second.uuid


@needs_plugin
def test_an_element_without_a_pseudopotential_or_family_is_refused(espresso):
    assert refusal(espresso(), [*SILICON, bulk('Cu')]) == Code.ELEMENT_UNSUPPORTED
    family = {'pseudopotentials': {}, 'pseudopotential_family': 'SSSP/1.3/PBE/efficiency'}
    assert refusal(espresso(**family), SILICON) == Code.FILE_MISSING


@needs_plugin
def test_an_installed_family_provides_the_pseudopotentials_of_the_elements(espresso, tmp_path):
    from aiida_pseudo.groups.family import PseudoPotentialFamily

    folder = tmp_path / 'family'
    folder.mkdir()
    for symbol in ('Si', 'Ge'):
        (folder / f'{symbol}.upf').write_text(UPF.format(symbol))
    PseudoPotentialFamily.create_from_folder(folder, f'family of {tmp_path}', pseudo_type=_upf())
    settings = espresso(pseudopotentials={}, pseudopotential_family=f'family of {tmp_path}')
    inputs, level = process_inputs(settings, SILICON, JobResources())
    assert set(inputs['pseudos']) == {'Si'}
    assert set(level['parameters']['potentials']) == {'Si'}
    assert refusal(settings, [bulk('Cu')]) == Code.ELEMENT_UNSUPPORTED


def _upf():
    from aiida_pseudo.data.pseudo import UpfData

    return UpfData


@needs_plugin
@pytest.mark.parametrize(
    ('fields', 'structures', 'code'),
    [
        ({'functional': 'PBEsol'}, SILICON, Code.SETTINGS_REFUSED),
        ({'code': 'missing@localhost'}, SILICON, Code.CODE_MISSING),
        ({'code': None}, SILICON, Code.VALUE_MISSING),
        ({}, [bulk('Fe')], Code.CONFIG_INVALID),
    ],
)
def test_unsuitable_settings_are_refused(espresso, fields, structures, code):
    assert refusal(espresso(**fields), structures) == code


@pytest.mark.skipif(find_spec('aiida_quantumespresso') is not None, reason='aiida-quantumespresso is installed')
def test_a_missing_plugin_is_refused(espresso):
    assert refusal(espresso(), SILICON) == Code.PACKAGE_MISSING


def test_the_level_of_a_calculator_of_ase_has_its_versions(make_code):
    settings = AseLabelling(**EMT_SETTINGS, code=make_code().full_label)
    inputs, level = process_inputs(settings, SILICON, JobResources())
    assert level['parameters']['versions'] == {'ase': version('ase')}
    assert inputs['options']['withmpi'] is False
    assert 'pseudos' not in inputs


def test_moments_and_time_limits_that_ase_would_ignore_are_refused(make_code):
    settings = AseLabelling(**EMT_SETTINGS, code=make_code().full_label)
    assert refusal(settings, [bulk('Fe')]) == Code.SETTINGS_REFUSED
    assert refusal(settings.model_copy(update={'time_limit_s': 60.0}), SILICON) == Code.SETTINGS_REFUSED


def test_a_job_runs_an_mpi_process_on_each_core(make_code):
    computer = make_code().computer
    options = mpi_options(JobResources(nodes=2, cpus_per_job=8), computer)
    assert options['resources'] == {'num_machines': 2, 'num_mpiprocs_per_machine': 8}
    assert options['withmpi'] is True
