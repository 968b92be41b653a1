"""A real Slurm on this machine, on loopback: munge, slurmctld, slurmd, a node with two fake GPUs.

`python tests/slurm.py start FOLDER` and `python tests/slurm.py stop FOLDER`, as root, with the Debian
packages slurm-wlm and munge. Its configuration is linked into /etc/slurm, where job steps look for it.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

CONFIGURATION = Path("/etc/slurm")
DAEMONS = ("slurmd", "slurmctld", "munged")  # In stopping order.
SLURM = """
ClusterName=loop
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/munge.socket
CryptoType=crypto/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
MinJobAge=3600
BatchStartTimeout=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu,shard
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} Boards=1 SocketsPerBoard=1 CoresPerSocket={cores} \
ThreadsPerCore=1 RealMemory={memory} Gres=gpu:h100:2,shard:8 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes={host} MaxTime=INFINITE State=UP
PartitionName=urgent Nodes={host} MaxTime=INFINITE PriorityTier=2 State=UP
"""
FILES = {
    "slurm.conf": SLURM,
    "gres.conf": "NodeName={host} Name=gpu Type=h100 File={folder}/fakegpu[0-1]\n"
    "NodeName={host} Name=shard Count=8\n",
    "cgroup.conf": "CgroupAutomount=no\nConstrainCores=no\nConstrainRAMSpace=no\n",
}


def missing() -> str:
    """Why Slurm cannot run on this machine; empty if it can."""
    if not all(map(shutil.which, DAEMONS)):
        return "Slurm is not installed: apt install slurm-wlm munge"
    if configured := [str(CONFIGURATION / name) for name in FILES if (CONFIGURATION / name).exists()]:
        return f"Slurm is already configured on this machine: {', '.join(configured)}"
    return "" if os.geteuid() == 0 else "Slurm's daemons must be started as root"


def start(folder: Path) -> None:
    """Write the configuration into a new folder, start the daemons and wait for the node."""
    for name in ("munge", "state", "spool", "log"):
        (folder / name).mkdir(mode=0o755, parents=True)
    for parent in folder.parents:  # Every user must be able to reach munge's socket.
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    for number in (0, 1):  # Device numbers of /dev/null.
        subprocess.run(["mknod", folder / f"fakegpu{number}", "c", "1", "3"], check=True)
    node = {"host": socket.gethostname().split(".")[0], "cores": os.cpu_count()}
    # In MiB. A node with less memory than its line says never becomes idle.
    node["memory"] = int(0.9 * psutil.virtual_memory().total / 2**20)
    for name, text in FILES.items():
        (folder / name).write_text(text.format(folder=folder, **node))
        CONFIGURATION.mkdir(exist_ok=True)
        (CONFIGURATION / name).unlink(missing_ok=True)
        (CONFIGURATION / name).symlink_to(folder / name)
    start_munge(folder / "munge")
    subprocess.run(["slurmctld"], check=True)
    wait_for("slurmctld", ["scontrol", "ping"], "UP")
    subprocess.run(["slurmd"], check=True)
    wait_for("the node", ["sinfo", "--noheader", "--format=%T"], "idle")


def lose_node(folder: Path) -> None:
    """Kill the node's daemon and everything its jobs run without warning, as if it had lost power."""
    psutil.Process(int((folder / "slurmd.pid").read_text())).kill()
    steps = [process for process in psutil.process_iter(["name"]) if process.info["name"] == "slurmstepd"]
    for process in [process for step in steps for process in (step, *step.children(recursive=True))]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def start_munge(folder: Path) -> None:
    """Start the daemon that authenticates users."""
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    options = {"key-file": key, "socket": folder / "munge.socket", "pid-file": folder.parent / "munged.pid"}
    options |= {"log-file": folder / "munged.log", "seed-file": folder / "munged.seed"}
    subprocess.run(["munged", *(f"--{name}={path}" for name, path in options.items())], check=True)


def wait_for(what: str, command: list[str], answer: str, seconds: float = 30) -> None:
    """Wait until a command's output contains an answer."""
    until = time.monotonic() + seconds
    while answer not in (done := subprocess.run(command, capture_output=True, text=True)).stdout:
        if time.monotonic() > until:
            raise RuntimeError(f"{what} does not come up: {done.stdout}{done.stderr}")
        time.sleep(0.3)


def stop(folder: Path) -> None:
    """Stop the daemons by pid and remove the configuration."""
    for name in DAEMONS:
        if (file := folder / f"{name}.pid").exists():
            try:
                os.kill(int(file.read_text()), signal.SIGTERM)
            except ProcessLookupError:
                continue
            finally:
                time.sleep(0.5)
    for name in FILES:
        (CONFIGURATION / name).unlink(missing_ok=True)


if __name__ == "__main__":
    {"start": start, "stop": stop}[sys.argv[1]](Path(sys.argv[2]).absolute())
