#!/usr/bin/env bash
# Start Slurm as on a cluster: two nodes, accounting, memory limits by cgroup, a preempting partition, and fake GPUs.
source "$(dirname "$0")/settings.sh"

# The services have their own key, sockets, ports and folders, so that another Slurm on this machine is not affected.
start_munge() {
    install -d -o munge -g munge -m 700 "$STACK/munge" "$STACK/munge/log"
    install -d -o munge -g munge -m 755 "$PIDS/munge"
    if [[ ! -s $STACK/munge/key ]]; then
        head -c 1024 /dev/urandom >"$STACK/munge/key"
        chown munge:munge "$STACK/munge/key"
        chmod 400 "$STACK/munge/key"
    fi
    is_running munge/munged || setpriv --reuid=munge --regid=munge --init-groups /usr/sbin/munged --num-threads=2 \
        --socket="$PIDS/munge/socket" --key-file="$STACK/munge/key" --pid-file="$PIDS/munge/munged.pid" \
        --log-file="$STACK/munge/log/munged.log" --seed-file="$STACK/munge/seed"
    wait_until 10 munge munge --socket="$PIDS/munge/socket" --no-input
}

start_database() {
    local folder=$STACK/mariadb
    if [[ ! -d $folder/mysql ]]; then
        install -d -o mysql -g mysql -m 700 "$folder"
        mariadb-install-db --no-defaults --user=mysql --datadir="$folder" --skip-test-db >"$LOGS/mariadb-install.log" 2>&1
    fi
    install -d -o mysql -g mysql -m 755 "$PIDS/mariadb"
    is_running mariadb/mariadb || setsid --fork mariadbd --no-defaults --user=mysql --datadir="$folder" \
        --socket="$PIDS/mariadb/socket" --pid-file="$PIDS/mariadb/mariadb.pid" --log-error="$folder/error.log" \
        --bind-address=127.0.0.1 --port="$MARIADB_PORT" --innodb-buffer-pool-size=64M \
        --innodb-flush-log-at-trx-commit=0 </dev/null >/dev/null 2>&1
    wait_until 60 MariaDB mariadb-admin --no-defaults --socket="$PIDS/mariadb/socket" ping
    mariadb --no-defaults --socket="$PIDS/mariadb/socket" --execute "
        CREATE DATABASE IF NOT EXISTS slurm_acct_db;
        CREATE USER IF NOT EXISTS 'slurm'@'127.0.0.1' IDENTIFIED BY 'slurm';
        GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1';"
}

write_slurmdbd_conf() {
    cat >"$STACK/slurm/slurmdbd.conf" <<CONFIG
AuthType=auth/munge
AuthInfo=socket=$PIDS/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$SLURMDBD_PORT
SlurmUser=slurm
LogFile=$LOGS/slurm/slurmdbd.log
PidFile=$PIDS/slurm/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$MARIADB_PORT
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
CONFIG
    chown slurm:slurm "$STACK/slurm/slurmdbd.conf"
    chmod 600 "$STACK/slurm/slurmdbd.conf"
}

write_slurm_conf() {
    local host cpus memory_MB
    host=$(hostname -s)
    cpus=$(getconf _NPROCESSORS_ONLN)
    memory_MB=$(($(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo) * 9 / 10))
    [[ -d /sys/fs/cgroup/memory && -d /sys/fs/cgroup/freezer ]] ||
        fail 'memory limits need the cgroups of version 1 under /sys/fs/cgroup, which this machine does not have'
    cat >"$STACK/slurm/cgroup.conf" <<CONFIG
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
ConstrainCores=no
ConstrainDevices=no
CONFIG
    # Slurm only counts the GPUs, so any device file works.
    printf 'Name=gpu File=%s\n' /dev/zero /dev/full >"$STACK/slurm/gres.conf"
    # cred_expire: how long a requeued job waits, by default two minutes.
    cat >"$STACK/slurm/slurm.conf" <<CONFIG
ClusterName=mlip
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$SLURMCTLD_PORT
SlurmUser=slurm
AuthType=auth/munge
AuthInfo=socket=$PIDS/munge/socket,cred_expire=10
CredType=cred/munge
SlurmctldPidFile=$PIDS/slurm/slurmctld.pid
SlurmdPidFile=$PIDS/slurm/slurmd.%n.pid
StateSaveLocation=$STACK/slurm/state
SlurmdSpoolDir=$STACK/slurm/spool.%n
SlurmctldLogFile=$LOGS/slurm/slurmctld.log
SlurmdLogFile=$LOGS/slurm/slurmd.%n.log
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
DefMemPerCPU=512
ReturnToService=2
SwitchType=switch/none
MpiDefault=none
SchedulerParameters=sched_interval=2,bf_interval=5,batch_sched_delay=0
MinJobAge=300
KillWait=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$SLURMDBD_PORT
# With Munge, this is the path of its socket.
AccountingStoragePass=$PIDS/munge/socket
AccountingStorageEnforce=associations
AccountingStorageTRES=gres/gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
CONFIG
    local number
    for number in "${!NODES[@]}"; do
        echo "NodeName=${NODES[number]} NodeHostname=$host NodeAddr=127.0.0.1 Port=$((SLURMD_PORT + number + 1))" \
            "CPUs=$cpus RealMemory=$memory_MB Gres=gpu:2 State=UNKNOWN" >>"$STACK/slurm/slurm.conf"
    done
    cat >>"$STACK/slurm/slurm.conf" <<CONFIG
PartitionName=debug Nodes=ALL Default=YES MaxTime=01:00:00 PriorityTier=1 State=UP
PartitionName=spare Nodes=ALL MaxTime=01:00:00 PriorityTier=1 State=UP
PartitionName=urgent Nodes=ALL MaxTime=01:00:00 PriorityTier=2 State=UP
CONFIG
    chmod 644 "$STACK/slurm/"{slurm,cgroup,gres}.conf
}

are_idle() {
    [[ $(sinfo --noheader --Node --partition=debug --format=%T | grep -c -e idle -e mixed -e allocated) == "${#NODES[@]}" ]]
}

start_slurm() {
    install -d -o slurm -g slurm -m 755 "$PIDS/slurm" "$LOGS/slurm" "$STACK/slurm/state"
    write_slurmdbd_conf
    is_running slurm/slurmctld || write_slurm_conf
    is_running slurm/slurmdbd || /usr/sbin/slurmdbd
    wait_until 60 slurmdbd sacctmgr --noheader list cluster
    sacctmgr --immediate add cluster mlip >/dev/null 2>&1 || true
    sacctmgr --immediate add account materials >/dev/null 2>&1 || true
    sacctmgr --immediate add user "$CLUSTER_USER" account=materials >/dev/null 2>&1 || true
    is_running slurm/slurmctld || /usr/sbin/slurmctld -c
    local node
    for node in "${NODES[@]}"; do
        install -d "$STACK/slurm/spool.$node"
        is_running "slurm/slurmd.$node" || /usr/sbin/slurmd -N "$node"
    done
    wait_until 60 'the nodes of Slurm' are_idle
}

start_munge
say munge
start_database
say MariaDB
start_slurm
say Slurm
