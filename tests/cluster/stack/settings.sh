# Folders, ports and names of the test cluster, and functions to watch and stop its services. Source this file.
set -euo pipefail

STACK=${MLIP_AUTOPIPE_STACK:-/var/lib/mlip-autopipe-cluster}
SSH_PORT=2222
SLURMCTLD_PORT=16817
SLURMDBD_PORT=16819
MARIADB_PORT=16806
SLURMD_PORT=17000 # plus the number of the node
NODES=(node1 node2)
CLUSTER_USER=mlipuser
CLUSTER_HOME=$STACK/users/$CLUSTER_USER
PIDS=$STACK/run
LOGS=$STACK/log
export SLURM_CONF=$STACK/slurm/slurm.conf
# Services run as other users, who may have no access to the TMPDIR of the caller.
export TMPDIR=/tmp

say() { printf '== %s (%d s)\n' "$*" "$SECONDS"; }
fail() {
    echo "$*" >&2
    exit 1
}

# is_running NAME: whether a service that these scripts started is running.
is_running() {
    [[ -s $PIDS/$1.pid ]] && kill -0 "$(<"$PIDS/$1.pid")" 2>/dev/null
}

# wait_until SECONDS WHAT COMMAND…: wait until the command succeeds; fail after this time.
wait_until() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || fail "$what did not respond in time; see $LOGS"
        sleep 0.2
    done
}

# stop NAME: stop the service that has this pid file.
stop() {
    is_running "$1" || return 0
    local pid
    pid=$(<"$PIDS/$1.pid")
    kill "$pid"
    for _ in {1..200}; do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    ! kill -0 "$pid" 2>/dev/null || kill -KILL "$pid"
    rm -f "$PIDS/$1.pid"
}
