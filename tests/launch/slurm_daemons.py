"""A Slurm of the tests' own: a controller and a node with two slots, as children of pytest."""

import os
import shutil
import socket
import subprocess
from contextlib import ExitStack, contextmanager
from time import monotonic, sleep

# No munge, no accounting, no cgroups: Debian's slurm-wlm in a container is enough.
CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
MailProg=/bin/true
SchedulerParameters=batch_sched_delay=0,sched_interval=1
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=slots Nodes={host} Default=YES MaxTime=60 PriorityTier=1 GraceTime=60
PartitionName=urgent Nodes={host} MaxTime=60 PriorityTier=2
"""


def is_installed():
    """Whether this process can start a Slurm."""
    return os.geteuid() == 0 and all(map(shutil.which, ("slurmctld", "slurmd", "sbatch")))


def slurm(*command):
    """What a command of Slurm prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def wait_until(condition, seconds=90.0):
    """The first true value of a condition."""
    end = monotonic() + seconds
    while not (value := condition()):
        assert monotonic() < end, f"not after {seconds:g} s"
        sleep(0.1)
    return value


@contextmanager
def running_slurm(place, patch):
    """Start the daemons in a directory; SLURM_CONF is set as long as they run."""
    for name in ("state", "spool"):
        (place / name).mkdir()
    controller_port, node_port = _free_ports(2)
    host = socket.gethostname().partition(".")[0]
    file = place / "slurm.conf"
    ports = {"controller_port": controller_port, "node_port": node_port}
    file.write_text(CONFIGURATION.format(host=host, place=place, **ports))
    patch.setenv("SLURM_CONF", str(file))
    with ExitStack() as stack:
        for daemon in ("slurmctld", "slurmd"):
            log = stack.enter_context((place / f"{daemon}.log").open("w"))
            process = subprocess.Popen([daemon, "-D", "-f", file], stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        wait_until(_is_idle)
        try:
            yield
        finally:  # a failed test may have left jobs
            subprocess.run(["scancel", "--user=root"], check=False)
            wait_until(lambda: not slurm("squeue", "--noheader"), 60)


def _is_idle():
    command = ["sinfo", "--noheader", "--format=%T"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() == "idle"


def _free_ports(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
