"""Registration of codes by a self-test that runs as a job. The tests of images are in tests/cluster."""

import shutil
import sys

import pytest
from aiida import orm
from aiida.engine import run_get_node
from support.errors import refused

from aiida_mlip_autopipe.calculators.kinds.sevennet import SevenNetSettings
from aiida_mlip_autopipe.campaigns import self_tests
from aiida_mlip_autopipe.campaigns.registration import Program, register_code
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.data.model_store import FOLDER, find_model
from aiida_mlip_autopipe.exploration import resolve_model
from aiida_mlip_autopipe.installation.codes import list_codes, read_tested_models
from aiida_mlip_autopipe.workflows.inputs.models import model_node

pytestmark = pytest.mark.integration


@pytest.fixture
def register(aiida_profile, tmp_path):
    """Return a function that registers a calculator on a separate computer."""
    from aiida_mlip_autopipe.installation.computers import Site, add_computer

    site = Site('bench', 'localhost', 'direct', str(tmp_path / 'work'), 0.0, 0.0)
    computer, errors = add_computer(site)
    assert not errors

    def run(python=sys.executable, kind='emt', model=None):
        return register_code(kind, Program(computer, python), lambda builder: run_get_node(builder)[1], model=model)

    return run


def test_a_code_is_registered_if_its_self_test_passes_and_hidden_if_it_fails(register, tmp_path, monkeypatch):
    created = register()
    assert created.done == 'created'
    assert created.report['device'] == 'cpu'
    assert created.report['threads'] == 1
    assert {code.full_label: report for code, report in list_codes()}['autopipe-emt@bench'] == created.report
    assert register().code.pk == created.code.pk

    with refused(Code.SELF_TEST_FAILED, "'emt'", 'autopipe-emt@bench', 'no/python: No such file or directory'):
        register(str(tmp_path / 'no' / 'python'))
    assert orm.load_code('autopipe-emt@bench').pk == created.code.pk
    assert 'autopipe-emt-failed' not in str(list_codes())

    wrapper = tmp_path / 'wrapper'
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    replaced = register(str(wrapper))
    assert replaced.done == 'replaced'
    assert orm.load_code('autopipe-emt@bench').pk == replaced.code.pk
    assert orm.load_code(f'autopipe-emt-{created.code.pk}@bench').pk == created.code.pk

    monkeypatch.setattr(self_tests, 'CONTRACT_VERSION', 99)
    with refused(Code.VERSION_MISMATCH, 'contract_version 7', '99'):
        register()
    assert orm.load_code('autopipe-emt@bench').pk == replaced.code.pk


@pytest.mark.mlip
def test_a_self_test_copies_its_model_file_to_the_computer_and_records_the_model(register, tmp_path):
    orm.load_computer('bench').set_property(FOLDER, str(tmp_path / 'models'))
    model = tmp_path / 'my.pth'
    shutil.copy(resolve_model(SevenNetSettings()), model)
    code = register(kind='sevennet', model=str(model)).code
    sha256 = file_sha256(model)
    assert read_tested_models(code)[sha256]['cutoff_A'] == 5.0
    assert read_tested_models(code)[sha256]['shipped'] is False
    assert find_model(code.computer, sha256).startswith(str(tmp_path / 'models'))
    model.unlink()
    # The node has the bytes, so the file is no longer needed.
    assert model_node(SevenNetSettings(model=str(model), model_sha256=sha256), code).has_bytes


def test_a_code_needs_an_interpreter_or_an_image(register):
    with refused(Code.VALUES_INCOMPLETE, '--python', '--image'):
        register(python=None)
