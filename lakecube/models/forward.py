"""Forward passes: a network loaded once per process, one thread to a pass, the device and the number format."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from lakecube.errors import InvalidInputError, ReadError
from lakecube.models.registry import Weights, load, need_torch

Precision = Literal["float32", "bfloat16"]

#: Views of an image: the axes that are mirrored, and whether it is transposed then. The first 1, 2, 4 or 8 are used.
VIEWS: tuple[tuple[tuple[int, ...], bool], ...] = tuple(
    (axes, turned) for turned in (False, True) for axes in ((), (-2, -1), (-2,), (-1,))
)
#: Networks that are kept in memory; of more, the one that was used longest ago goes.
_NETWORKS = 4
#: Bytes of a block up to which glibc is asked to keep it, and of the parts of the memory of a thread.
_KEPT, _PART = 2**28, 2**26
_lock = threading.Lock()
_loaded: dict[tuple[str, str, Precision], Any] = {}
_passes, _threads_before = 0, 1
#: In a thread that left while others ran: how many threads it had before, since its own number is still 1.
_own = threading.local()
#: One pass at a time on a GPU: two only wait for each other and double the memory.
_on_gpu = threading.Lock()


def check_device(device: str | None) -> None:
    """Raise InvalidInputError for a kind of device that is not known here; whether there is one is `device_of`'s."""
    if device is not None and str(device).partition(":")[0] not in ("cpu", "cuda"):
        raise InvalidInputError(f"device={device!r}: use 'cpu' or 'cuda'")


def check_views(views: int) -> None:
    """Raise InvalidInputError unless an image may be looked at in so many ways."""
    if views not in (1, 2, 4, 8):
        raise InvalidInputError(f"views={views!r}: use 1, 2, 4 or 8 turned and mirrored copies")


def gpu_name() -> str | None:
    """Name of the GPU that torch would use; None without one, or without torch."""
    if find_spec("torch") is None:
        return None
    import torch

    return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else None


def use_threads(threads: int) -> None:
    """How many threads torch may use in this process, for training."""
    need_torch()
    import torch

    torch.set_num_threads(threads)


def device_of(device: str | None) -> str:
    """The device to compute on: the one asked for, else the first GPU, else the CPU.

    Raises
    ------
    InvalidInputError
        A GPU that this machine does not have.
    """
    need_torch()
    import torch

    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InvalidInputError(f"device={device!r}: there is no GPU that torch can use here; leave device= out")
    return device


def network(weights: Weights, device: str = "cpu", precision: Precision = "float32") -> Any:
    """The network of some weights, ready to predict: channels last, loaded once per process, the last few kept."""
    key = weights.spec.sha256, device, precision
    with _lock:
        net = _loaded.pop(key) if key in _loaded else _built(weights, device, precision)
        _loaded[key] = net
        while len(_loaded) > _NETWORKS:
            del _loaded[next(iter(_loaded))]
        return net


def keep_memory() -> None:
    """Have glibc keep large blocks: by default every layer's output is given back to the system and faulted in anew.

    The main thread keeps blocks of up to 256 MiB. The memory of other threads comes in parts of 64 MiB: those are kept,
    larger blocks never are (hence `lakecube.models.pieces`). Measured in a thread of Dask's: a pass of a U-Net over
    1152² px takes a tenth less processor time, in the main thread one of LinkNet over 640² px a quarter. Other C
    libraries are left alone.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    for option, size in ((trim_threshold, _KEPT), (mmap_threshold, _KEPT), (top_pad, _PART)):
        mallopt(option, size)


def _built(weights: Weights, device: str, precision: Precision) -> Any:
    spec, state = load(weights)
    keep_memory()
    import torch

    from lakecube.models.folding import fold_batch_norm
    from lakecube.models.matching import matched

    net = matched(spec, state)
    net.load_state_dict(state, assign=True)
    net.eval().requires_grad_(False)
    fold_batch_norm(net)
    odd = next((name for name, v in net.state_dict().items() if not v.isfinite().all()), None)
    if odd is not None:
        raise ReadError(f"the weights {spec.name} make no number of {odd}: such a network answers nothing, train again")
    net = net.to(device, getattr(torch, precision))
    return net.to(memory_format=torch.channels_last)


def probabilities(
    weights: Weights, images: np.ndarray, device: str | None = None, precision: Precision = "float32", views: int = 1
) -> np.ndarray:
    """Probability of water of images: one forward pass to a view.

    Parameters
    ----------
    weights : Weights
    images : (n, y, x, band) float32
        Network input, C-contiguous: what torch calls channels last. No NaN.
    device : str or None
        By default the first GPU, else the CPU.
    precision : {"float32", "bfloat16"}
        Of weights and activations; the logits are float32.
    views : {1, 2, 4, 8}
        As they are; and turned by half; and mirrored either way; and all these transposed: the mean of what is said.

    Returns
    -------
    (n, y, x) float32
    """
    device = device_of(device)
    import torch

    net = network(weights, device, precision)
    with one_thread(torch), torch.inference_mode(), turn(torch, device):
        batch = torch.from_numpy(images).permute(0, 3, 1, 2).to(device, getattr(torch, precision))
        total: Any = None
        for axes, turned in VIEWS[:views]:
            seen = batch.flip(axes) if axes else batch
            seen = seen.transpose(-2, -1) if turned else seen
            said = torch.sigmoid(net(seen.contiguous(memory_format=torch.channels_last))[:, :1].float())
            said = (said.transpose(-2, -1) if turned else said).flip(axes)
            total = said if total is None else total.add_(said)
        return total.div_(views)[:, 0].cpu().numpy()


@contextlib.contextmanager
def one_thread(torch: Any) -> Iterator[None]:
    """One thread to a pass while any pass runs: Dask's tasks share the cores, and the bits do not depend on them.

    The number of OpenMP threads belongs to the calling thread, so each sets its own; that of MKL to the process, so
    only the last to leave puts it back.
    """
    global _passes, _threads_before
    with _lock:
        _own.before = getattr(_own, "before", None) or torch.get_num_threads()
        if _passes == 0:
            _threads_before = _own.before
        _passes += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _passes -= 1
            if _passes == 0:
                torch.set_num_threads(_threads_before)
                _own.before = None


@contextlib.contextmanager
def turn(torch: Any, device: str) -> Iterator[None]:
    """On a GPU: one pass at a time, by algorithms that always give the same bits."""
    if not device.startswith("cuda"):
        yield
        return
    with _on_gpu, torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
