"""The environment record, differences between records, and the refusal of a different environment."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys

import pytest
from support.environments import environment_of
from support.errors import refused

from aiida_mlip_autopipe.calculators.kinds.custom import CustomSettings
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.installation.codes import describe_self_test
from aiida_mlip_autopipe.jobs import environment as environment_module
from aiida_mlip_autopipe.jobs.environment import (
    compare_environments,
    environment_key,
    read_environment,
    source_sha256,
)
from aiida_mlip_autopipe.jobs.loading import make_loader
from aiida_mlip_autopipe.jobs.self_test import run_self_test

MINE = 'from ase.calculators.emt import EMT\n\n\nclass MyEMT(EMT):\n    factor = {factor}\n'
CUSTOM = {'kind': 'custom', 'calculator': 'my_test_calculator:MyEMT', 'cutoff_A': 3.0}


@pytest.fixture
def write_module(tmp_path, monkeypatch):
    """Return a function that writes an importable module with a custom calculator."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(factor):
        (tmp_path / 'my_test_calculator.py').write_text(MINE.format(factor=factor))
        return read_environment(make_loader(CUSTOM), 'cpu')

    return write


def names(expected, found):
    return {difference.name for difference in compare_environments(expected, found)}


def test_the_record_has_the_installed_versions():
    found = environment_of()
    for package in ('ase', 'numpy', 'scipy'):
        assert getattr(found, package) == importlib.metadata.version(package)
    assert found.calculator == found.ase
    assert found.torch is None
    assert found.without_calculator() == read_environment()


def test_a_difference_names_the_field_and_both_values():
    expected, found = environment_of().model_copy(update={'numpy': '2.0.0'}), environment_of()
    (difference,) = compare_environments(expected, found)
    assert (difference.name, difference.expected, difference.found) == ('numpy', '2.0.0', found.numpy)
    assert [value for value in ('numpy', found.numpy, '2.0.0') if value not in str(difference)] == []
    assert expected.identity != found.identity


def test_the_device_is_compared_only_if_it_is_known():
    expected = environment_of(device='cuda')
    assert names(expected, environment_of(device=None)) == set()
    assert names(expected, environment_of(device='cpu')) == {'device'}


def test_editing_the_module_of_a_custom_calculator_changes_the_record(write_module):
    first, edited, back = write_module(1.0), write_module(3.0), write_module(1.0)
    assert names(first, edited) == {'source my_test_calculator'}
    assert first.identity != edited.identity
    assert first.identity == back.identity
    assert 'my_test_calculator' not in sys.modules


def test_extra_sources_are_files_modules_and_packages_in_any_folder(write_module, tmp_path):
    package = tmp_path / 'my_test_package'
    package.mkdir()
    (package / '__init__.py').write_text('raise RuntimeError("imported")\n')
    (package / 'terms.py').write_text('A = 1\n')
    table = tmp_path / 'table.dat'
    table.write_text('1 2 3')
    write_module(1.0)
    settings = {**CUSTOM, 'extra_sources': ['my_test_package', 'my_test_package.terms', str(table)]}

    def read():
        return read_environment(make_loader(settings))

    first = read()
    assert set(first.sources) == {'my_test_calculator', *settings['extra_sources']}
    table.write_text('1 2 4')
    second = read()
    assert names(first, second) == {f'source {table}'}
    (package / 'terms.py').write_text('A = 2\n')
    assert names(second, read()) == {'source my_test_package', 'source my_test_package.terms'}


def test_a_package_has_the_same_hash_in_another_folder(tmp_path):
    for folder in ('here', 'there'):
        (tmp_path / folder / 'inner').mkdir(parents=True)
        (tmp_path / folder / 'inner' / 'a.py').write_text('A = 1\n')
    assert source_sha256(str(tmp_path / 'here')) == source_sha256(str(tmp_path / 'there'))
    (tmp_path / 'there' / 'inner' / 'a.py').rename(tmp_path / 'there' / 'inner' / 'b.py')
    assert source_sha256(str(tmp_path / 'here')) != source_sha256(str(tmp_path / 'there'))


@pytest.mark.parametrize('name', ['no_such_module', 'ase.no_such_module', 'json.decoder.inner', '/no/such/file'])
def test_a_missing_source_is_refused(name):
    with refused(Code.FILE_MISSING if '/' in name else Code.CALCULATOR_MISSING, name):
        source_sha256(name)


@pytest.mark.parametrize('name', ['./table.dat', '../table.dat', 'a-b', ''])
def test_a_source_with_a_relative_path_is_refused(name):
    with refused(Code.WRONG_PATTERN, 'extra_sources', repr(name)):
        CustomSettings(**{**CUSTOM, 'extra_sources': [name]})


def test_a_code_has_a_record_for_each_custom_calculator():
    other = {**CUSTOM, 'extra_sources': ('parts',)}
    keys = {environment_key(one) for one in ({'kind': 'emt', 'cutoff_A': 1}, {'kind': 'emt'}, CUSTOM, other)}
    assert len(keys) == 3


def test_the_self_test_reports_the_record_with_the_device(write_module):
    record = write_module(1.0)
    assert run_self_test(CUSTOM)['environment'] == record.model_dump(mode='json')


def test_a_calculator_without_a_model_has_a_record(monkeypatch):
    monkeypatch.setattr(environment_module, '_version_of', lambda package: '2.0')
    monkeypatch.setattr('aiida_mlip_autopipe.calculators.base.version', lambda package: '0.3')
    monkeypatch.setattr('aiida_mlip_autopipe.jobs.self_test.resolve_device', lambda device: 'cuda')
    record = run_self_test({'kind': 'mace'})['environment']
    assert (record['calculator'], record['torch'], record['device']) == ('0.3', '2.0', 'cuda')


@pytest.mark.parametrize('kind', ['committee', 'custom'])
def test_a_calculator_without_default_settings_is_tested_as_an_environment(kind):
    report = run_self_test({'kind': kind})
    assert (report['ok'], report['calculator_version']) == (True, None)
    assert report['environment'] == environment_module.read_environment().model_dump(mode='json')
    assert kind in describe_self_test(report)


def test_incomplete_settings_fail_the_self_test():
    assert not run_self_test({'kind': 'custom', 'calculator': 'ase.calculators.emt:EMT'})['ok']


@pytest.mark.parametrize(('field', 'value'), [('scipy', '1.0'), ('threads', 99), ('device', 'cuda'), ('torch', '2.0')])
def test_a_job_refuses_a_different_environment(job_folder, copper, field, value):
    folder = job_folder().write(copper)
    content = json.loads((folder.path / 'job.json').read_text())
    content['environment'][field] = value
    if field == 'device':
        # Without a device in the settings, a calculator may run on another one.
        content['calculator'] = {'kind': 'custom', 'calculator': 'ase.calculators.emt:EMT', 'cutoff_A': 6.6}
        content['environment'] = environment_of(content['calculator'], value).model_dump(mode='json')
    (folder.path / 'job.json').write_text(json.dumps(content))
    result = folder.run()
    assert (result.outcome, result.code) == ('refused', Code.ENVIRONMENT_CHANGED)
    assert field in result.message
    assert str(value) in result.message


def test_the_result_contains_the_environment_of_the_job(job_folder, copper):
    assert job_folder().write(copper, {'n_steps': 2}).run().environment == environment_of()


def test_the_record_is_printed_without_importing_the_calculator(write_module, tmp_path):
    record = write_module(1.0)
    command = [sys.executable, '-X', 'importtime', '-m', 'aiida_mlip_autopipe.exploration', '--environment']
    done = subprocess.run(
        [*command, json.dumps(CUSTOM)], env={'PYTHONPATH': str(tmp_path)}, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found['sources'] == record.sources
    assert found['device'] is None
    imported = {line.rpartition('|')[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {'torch', 'scipy', 'my_test_calculator', 'ase.calculators.emt'}
