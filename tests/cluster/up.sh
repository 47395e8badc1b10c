#!/usr/bin/env bash
# Start the cluster for the tests, as root on Debian 12: sshd, Slurm, Apptainer. Services that are already running are
# kept.
source "$(dirname "$0")/stack/settings.sh"
cd "$(dirname "$0")/stack"
((EUID == 0)) || fail 'the test cluster must be started by root'
install -d -m 755 "$STACK" "$PIDS" "$LOGS" "$STACK/users"

./packages.sh
say 'system packages'
./apptainer.sh
say Apptainer
./sshd.sh
say sshd
./slurm.sh
cat >"$STACK/environment" <<ENVIRONMENT
# Source this file to use the test cluster: the host hpc for ssh and AiiDA, and the commands of Slurm.
export HOME=$STACK/home
export SLURM_CONF=$SLURM_CONF
ENVIRONMENT
say "the cluster is running; 'source $STACK/environment' to use it"
