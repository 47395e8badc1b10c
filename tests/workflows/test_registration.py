"""Codes are kept when a job there has passed the self-test. Images are tried on the real stack, in tests/cluster."""

import sys

import pytest
from aiida import orm
from aiida.engine import run_get_node

from aiida_mlip_autopipe.errors import AutopipeError
from aiida_mlip_autopipe.installation.codes import list_codes
from aiida_mlip_autopipe.workflows import self_tests
from aiida_mlip_autopipe.workflows.registration import Program, register_code

pytestmark = pytest.mark.integration


@pytest.fixture
def register(aiida_profile, tmp_path):
    """Register EMT on a computer of the test's own."""
    from aiida_mlip_autopipe.installation.computers import Site, add_computer

    site = Site('bench', 'localhost', 'direct', str(tmp_path / 'work'), 0.0, 0.0)
    computer, troubles = add_computer(site)
    assert not troubles

    def run(python=sys.executable):
        return register_code('emt', Program(computer, python), lambda builder: run_get_node(builder)[1])

    return run


def test_a_code_is_kept_when_its_self_test_passed_and_set_aside_when_it_failed(register, tmp_path, monkeypatch):
    created = register()
    assert created.done == 'created'
    assert created.report['device'] == 'cpu'
    assert created.report['threads'] == 1
    assert {code.full_label: report for code, report in list_codes()}['autopipe-emt@bench'] == created.report
    assert register().code.pk == created.code.pk

    with pytest.raises(AutopipeError, match=r'The program cannot be started: .*no/python: No such file or directory'):
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
    with pytest.raises(AutopipeError, match='contract_version 4, here it is 99'):
        register()
    assert orm.load_code('autopipe-emt@bench').pk == replaced.code.pk


def test_a_code_needs_an_interpreter_or_an_image(register):
    with pytest.raises(AutopipeError, match='--python or --image'):
        register(python=None)
