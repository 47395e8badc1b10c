#!/usr/bin/env bash
# Start sshd on loopback for the user of the cluster, who logs in with a key. In the config of the client, the host is
# `hpc`.
source "$(dirname "$0")/settings.sh"

if ! id "$CLUSTER_USER" >/dev/null 2>&1; then
    # useradd sets the password "!", which locks the account; without PAM, sshd refuses locked accounts.
    useradd --create-home --home-dir "$CLUSTER_HOME" --shell /bin/bash --password '*' "$CLUSTER_USER"
fi
install -d -m 755 "$STACK/sshd" /run/sshd
install -d -m 700 "$STACK/home" "$STACK/home/.ssh"
[[ -f $STACK/sshd/host_key ]] || ssh-keygen -q -t ed25519 -N '' -f "$STACK/sshd/host_key"
[[ -f $STACK/home/.ssh/id_ed25519 ]] || ssh-keygen -q -t ed25519 -N '' -f "$STACK/home/.ssh/id_ed25519"
install -d -o "$CLUSTER_USER" -g "$CLUSTER_USER" -m 700 "$CLUSTER_HOME/.ssh"
install -o "$CLUSTER_USER" -g "$CLUSTER_USER" -m 600 "$STACK/home/.ssh/id_ed25519.pub" "$CLUSTER_HOME/.ssh/authorized_keys"

cat >"$STACK/sshd/sshd_config" <<CONFIG
Port $SSH_PORT
ListenAddress 127.0.0.1
HostKey $STACK/sshd/host_key
PidFile $PIDS/sshd.pid
PasswordAuthentication no
UsePAM no
AllowUsers $CLUSTER_USER
MaxStartups 100
MaxSessions 100
SetEnv SLURM_CONF=$SLURM_CONF
Subsystem sftp internal-sftp
CONFIG
cat >"$STACK/home/.ssh/config" <<CONFIG
Host hpc
    HostName 127.0.0.1
    Port $SSH_PORT
    User $CLUSTER_USER
    IdentityFile $STACK/home/.ssh/id_ed25519
    IdentitiesOnly yes
    UserKnownHostsFile $STACK/home/.ssh/known_hosts
CONFIG
echo "[127.0.0.1]:$SSH_PORT $(cut -d' ' -f1,2 "$STACK/sshd/host_key.pub")" >"$STACK/home/.ssh/known_hosts"

is_running sshd || /usr/sbin/sshd -f "$STACK/sshd/sshd_config" -E "$LOGS/sshd.log"
wait_until 10 'ssh hpc' ssh -F "$STACK/home/.ssh/config" -o BatchMode=yes hpc true
