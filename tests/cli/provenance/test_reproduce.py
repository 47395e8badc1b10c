"""With what `reproduce` runs jobs."""

import sys

from support.errors import refused

from aiida_mlip_autopipe.cli.provenance.reproduce import _find_means
from aiida_mlip_autopipe.core.codes import Code


def test_the_codes_of_an_archive_which_contain_shell_commands_are_not_run():
    assert _find_means(None, None, [], is_archive=True).start == sys.executable
    assert _find_means(None, None, [], is_archive=False).start is None
    with refused(Code.VALUES_EXCLUDE, '--code', '--python'):
        _find_means(None, 'autopipe-emt@localhost', [], is_archive=True)
