"""The computer ``localhost``."""

import pytest
from aiida import orm

from aiida_mlip_autopipe.installation.codes import ensure_computer

pytestmark = pytest.mark.integration


def test_a_computer_that_an_archive_brought_is_set_up_for_this_machine(aiida_profile):
    computer, _ = ensure_computer()
    orm.AuthInfo.collection.delete(computer.get_authinfo(orm.User.collection.get_default()).pk)
    computer.set_workdir('/elsewhere')
    found, was_set_up = ensure_computer()
    assert (found.pk, was_set_up, found.is_configured) == (computer.pk, True, True)
    assert found.get_workdir() != '/elsewhere'
    assert ensure_computer()[1] is False
