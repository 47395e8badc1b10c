"""How the script of a job passes on the signal by which Slurm announces that it ends the job."""

from __future__ import annotations

# Where Slurm tracks processes by cgroups, as clusters do, `scancel`, preemption and the time limit signal only the
# shell of the script. It would die of it at once, and the runner be killed before it has written its checkpoint. So the
# script runs itself once more, in a process group of its own, and passes the signal to all of that.
PASS_SIGNALS_ON = """\
if [ -z "${MLIP_AUTOPIPE_INNER:-}" ] && [ -f "$0" ]; then
    export MLIP_AUTOPIPE_INNER=1
    set -m
    bash "$0" &
    trap 'kill -TERM -- "-$!"' TERM
    wait "$!"
    status=$?
    # A wait that a signal ends has not waited.
    while kill -0 "$!" 2>/dev/null; do
        wait "$!"
        status=$?
    done
    exit "$status"
fi
# With a trap of its own the inner shell waits for the runner, which has the signal too.
trap : TERM"""
