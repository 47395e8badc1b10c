"""A real AiiDA profile in a temporary folder, made by the package's setup; star-import it in a conftest."""

from __future__ import annotations

import pytest
from aiida.tools.pytest_fixtures import aiida_config_factory  # noqa: F401 (a fixture)
from support.environments import environment_of


@pytest.fixture(scope='session', autouse=True)
def aiida_profile(aiida_config_factory, tmp_path_factory):  # noqa: F811
    from aiida.engine.daemon.client import get_daemon_client

    from aiida_mlip_autopipe.installation.profile import ensure_profile

    with aiida_config_factory(tmp_path_factory.mktemp('aiida')):
        profile, created = ensure_profile(None)
        assert created
        yield profile
        client = get_daemon_client()
        if client.is_daemon_running:
            client.stop_daemon(wait=True)


@pytest.fixture(scope='session')
def emt_code_uuid(aiida_profile) -> str:
    from aiida_mlip_autopipe.installation.codes import ensure_code, ensure_computer, store_self_test

    computer, _ = ensure_computer()
    code, _ = ensure_code(computer, 'emt')
    for kind in ('emt', 'lj'):
        calculator = {'kind': kind}
        environment = environment_of(calculator).model_dump(mode='json')
        store_self_test(code, calculator, {'calculator': kind, 'environment': environment})
    return code.uuid


@pytest.fixture(scope='module')
def emt_code(emt_code_uuid):
    from aiida import orm

    # Tests that open an archive close the storage of all loaded nodes, so each module loads the code again.
    return orm.load_node(emt_code_uuid)
