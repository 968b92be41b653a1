"""One cell trained in several processes, one GPU each: they share every batch and take the same steps."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed, nn

from crossmodal_peft.training.signals import EXIT_CODE, Interrupted

Result = TypeVar("Result")

# A process that waits longer than this for another one gives up: the other must be hanging.
TIMEOUT = timedelta(minutes=10)


def launched() -> bool:
    """Whether torchrun started this process."""
    return distributed.is_torchelastic_launched()


def launch(command: Sequence[str], processes: int) -> None:
    """Run a command in several processes on this machine, as `torchrun --standalone` does.

    If one fails, the others are stopped at once. Raises RuntimeError saying which one failed and how;
    Interrupted on a stop request, which is passed on to all of them.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=f"crossmodal-peft-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
    )
    numbers = [getattr(signal, name) for name in config.signals_to_handle.split(",")]
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        elastic_launch(config, command[0])(*command[1:])
    except SignalException:
        raise Interrupted("stopped as requested; run it again to resume") from None
    except ChildFailedError as error:
        if any(failure.exitcode == EXIT_CODE for failure in error.failures.values()):
            raise Interrupted("stopped as requested; run it again to resume") from None
        raise RuntimeError(describe(error.failures, processes)) from None
    finally:  # torch leaves its own handlers in place.
        for number, handler in handlers.items():
            signal.signal(number, handler)


def describe(failures: dict[int, Any], processes: int) -> str:
    """Which process failed, and how.

    One killed by a signal comes first, because the others fail for lack of it. SIGTERM comes last: it is how
    the others are stopped.
    """

    def order(item: tuple[int, Any]) -> tuple[bool, bool, int]:
        code = item[1].exitcode
        return code == -signal.SIGTERM, code > 0, item[1].timestamp

    rank, failure = min(failures.items(), key=order)
    how = f"failed with exit code {failure.exitcode}: its error message is above"
    if failure.exitcode < 0:
        out_of_memory = " (out of memory?)" if failure.signal_name() == "SIGKILL" else ""
        how = f"was killed by {failure.signal_name()}{out_of_memory}"
    return f"process {rank} of {processes} {how}; the others were stopped"


@contextmanager
def group(processes: int) -> Iterator[None]:
    """Join the process group of the cell while the block runs; with GPUs, each process uses its own.

    Raises ValueError if torchrun started a different number of processes, or this machine has fewer GPUs.
    """
    if processes == 1:
        yield
        return
    started = int(os.environ.get("WORLD_SIZE", 1))
    if started != processes:
        raise ValueError(f"train.processes: {processes}, but {started} were started")
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if backend == "nccl":
        here, local = torch.cuda.device_count(), int(os.environ["LOCAL_RANK"])
        if local >= here:
            raise ValueError(
                f"train.processes: needs one GPU each, but there are only {here}; set it to {here}"
            )
        torch.cuda.set_device(local)
    distributed.init_process_group(backend, timeout=TIMEOUT)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def is_main_process() -> bool:
    """Whether this is the process that writes files: the only one, or rank 0."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def from_main_process(make: Callable[[], Result]) -> Result:
    """Call `make` on rank 0 only and broadcast its result, so that all processes use the same."""
    if not distributed.is_initialized():
        return make()
    results = [make() if is_main_process() else None]
    distributed.broadcast_object_list(results)
    return cast(Result, results[0])


def any_process(mine: bool) -> bool:
    """Whether `mine` is true in any process. All processes wait for one another here."""
    if not distributed.is_initialized():
        return mine
    votes: list[bool | None] = [None] * distributed.get_world_size()
    distributed.all_gather_object(votes, mine)
    return any(votes)


def share(items: int) -> slice:
    """This process's slice of a batch of `items`; slices differ by one item at most.

    Raises ValueError if there are fewer items than processes.
    """
    if not distributed.is_initialized():
        return slice(0, items)
    rank, size = distributed.get_rank(), distributed.get_world_size()
    if items < size:
        raise ValueError(f"a batch of {items} items for {size} processes; lower train.processes")
    return slice(items * rank // size, items * (rank + 1) // size)


def gather(own: Tensor, items: int) -> Tensor:
    """The rows (items, width) of all processes, gathered; gradients flow to this process's own rows.

    Every process must compute the same loss from them: then the gradient of its own rows is complete.
    """
    return own if not distributed.is_initialized() else _Gather.apply(own, items)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, items: int) -> Tensor:
        joint = own.new_zeros(items, own.shape[1])
        ctx.share = share(items)
        joint[ctx.share] = own
        distributed.all_reduce(joint)  # A sum with zeros, not an all-gather: shares may differ in size.
        return joint

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[ctx.share], None


def shared(value: Tensor) -> Tensor:
    """A value that every process computes; its gradient is divided by their number, as it will be summed."""
    if not distributed.is_initialized():
        return value
    return value.detach() + (value - value.detach()) / distributed.get_world_size()


def sum_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """All-reduce (sum) each gradient over the processes; parameters without one are skipped.

    Every process has an item of each modality in the batch, so all have gradients for the same parameters.
    """
    if not distributed.is_initialized():
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    for gradient, total in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(total.view_as(gradient))
