# Where the cluster of the tests lives, its ports and names, and how its services are started and stopped. Sourced.
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
# Services run under users of their own, to whom a caller's folder may be closed.
export TMPDIR=/tmp

say() { printf '== %s (%d s)\n' "$*" "$SECONDS"; }
fail() {
    echo "$*" >&2
    exit 1
}

# is_running NAME: the service that a script here started still runs.
is_running() {
    [[ -s $PIDS/$1.pid ]] && kill -0 "$(<"$PIDS/$1.pid")" 2>/dev/null
}

# wait_until SECONDS WHAT COMMAND…: a bounded wait.
wait_until() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || fail "$what: not within the time allowed; see $LOGS"
        sleep 0.2
    done
}

# stop NAME: end a service by the pid file that it wrote, and no other.
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
