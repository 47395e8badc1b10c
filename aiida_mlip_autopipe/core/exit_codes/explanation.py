"""What an exit code means and what to do, and sentences that several exit codes share."""

from __future__ import annotations

from typing import NamedTuple


class Explanation(NamedTuple):
    """What an exit code means and what the user can do, in one or two sentences each."""

    meaning: str
    remedy: str


RUN_AGAIN = 'Run the same file again: only missing results are computed.'
CHECK_DISK = 'Check the disk of the computer, then run the same file again.'
REPORT_BUG = 'Read the traceback with `verdi process report PK`, and report it as a bug.'
NEXT_LEG = 'No action is needed: the next leg continues from the checkpoint.'
AGAIN = 'No action is needed: the steps or labels are computed again.'
NO_FOLDER = Explanation('The folder of the killed job is missing, or contains no result.', AGAIN)
NOT_RECOVERED = Explanation('A file of the killed job is missing or damaged, or belongs to another run.', AGAIN)
UNFINISHED = Explanation('The job was stopped or killed.', 'Continue with its output `unfinished` as an input.')
