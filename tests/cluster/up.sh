#!/usr/bin/env bash
# Bring up the cluster that the tests run on, as root of a Debian 12 machine: sshd, Slurm, Apptainer. What already runs stays.
source "$(dirname "$0")/stack/settings.sh"
cd "$(dirname "$0")/stack"
((EUID == 0)) || fail 'the cluster of the tests is set up by root'
install -d -m 755 "$STACK" "$PIDS" "$LOGS" "$STACK/users"

./packages.sh
say 'system packages'
./apptainer.sh
say Apptainer
./sshd.sh
say sshd
./slurm.sh
cat >"$STACK/environment" <<ENVIRONMENT
# Source it to reach the cluster of the tests: the host hpc of ssh and AiiDA, and Slurm's own commands.
export HOME=$STACK/home
export SLURM_CONF=$SLURM_CONF
ENVIRONMENT
say "the cluster is up; 'source $STACK/environment' to reach it"
