"""Ctrl-C during and after the submission of a campaign."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

pytestmark = [pytest.mark.integration, pytest.mark.chaos]


def test_ctrl_c_during_a_submission_takes_effect_after_the_announcement(monkeypatch):
    from aiida_mlip_autopipe.campaigns import submission

    def submit(process):
        os.kill(os.getpid(), signal.SIGINT)
        return SimpleNamespace(pk=17, uuid='0')

    monkeypatch.setattr(submission, 'submit', submit)
    announced = []
    with pytest.raises(KeyboardInterrupt):
        submission.submit_and_announce(announced.append, 'cu_au', Path('cu_au.db'), None)
    assert [one.pk for one in announced] == [17]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_after_a_submission_prints_how_to_follow_the_campaign(capsys):
    from aiida_mlip_autopipe.cli.follow import outliving_ctrl_c

    def interrupt(*pks):
        with outliving_ctrl_c() as submitted:
            for pk in pks:
                submitted(pk)
            raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as ended:
        interrupt(17)
    assert ended.value.exit_code == 130
    assert 'mlip-autopipe status 17 --follow' in capsys.readouterr().out
    with pytest.raises(KeyboardInterrupt):
        interrupt()
