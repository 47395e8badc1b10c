#!/usr/bin/env bash
# Stop the services that up.sh started. `down.sh --purge` also removes their user and files.
source "$(dirname "$0")/stack/settings.sh"

if is_running slurm/slurmctld; then
    scancel --user="$CLUSTER_USER" || true
fi
for node in "${NODES[@]}"; do stop "slurm/slurmd.$node"; done
stop slurm/slurmctld
stop slurm/slurmdbd
stop mariadb/mariadb
stop munge/munged
stop sshd
if [[ ${1:-} == --purge ]]; then
    if id "$CLUSTER_USER" >/dev/null 2>&1; then userdel "$CLUSTER_USER"; fi
    rm -rf "$STACK"
fi
