from aiida_mlip_autopipe.calculators import installed_calculators
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.installation import codes, profile


def test_setup_tests_every_installed_calculator_before_it_creates_the_profile(run, monkeypatch):
    tried = []

    def refuse(name):
        raise AutopipeError(Code.PROFILE_MISSING, 'the test ends here')

    monkeypatch.setattr(codes, 'run_self_test', lambda kind, python, model: tried.append(kind))
    monkeypatch.setattr(profile, 'ensure_profile', refuse)
    assert run('setup').exit_code == 2
    assert tried == installed_calculators()
