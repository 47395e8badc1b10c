#!/usr/bin/env bash
# Install the Debian packages of the cluster: Slurm with accounting, sshd, and tools to build Apptainer and images.
source "$(dirname "$0")/settings.sh"

packages=(munge slurmctld slurmd slurmdbd slurm-client mariadb-server openssh-server openssh-client libpmix2
    mmdebstrap patchelf squashfs-tools squashfuse fuse-overlayfs fuse3 uidmap)
missing=()
for package in "${packages[@]}"; do
    [[ $(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

# The packages must not start their services, because the test cluster starts them with other settings.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq --yes --no-install-recommends "${missing[@]}" >"$LOGS/apt.log" 2>&1 || {
    tail "$LOGS/apt.log" >&2
    fail 'the system packages cannot be installed'
}
