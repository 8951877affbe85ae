"""Executors when others run, close or end concurrently."""

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engine.backends.layout.packing import layout_of
from engine.backends.onnx.runtime import OnnxExecutor
from engine.backends.torch import runtime as torch_backend
from engine.backends.torch.runtime import TorchModel
from engine.errors import ModelError

TEXTS = [[1, 2, 3], [4]]
CPU = torch.device("cpu")
INPUTS = ("input_ids", "attention_mask")


class Tiny(nn.Module):
    """A minimal model; `seen` is called in every forward pass."""

    def __init__(self, seen: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 3)
        self._seen = seen

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self._seen()
        vectors = self.linear((ids * mask).sum(dim=1, keepdim=True).float())
        norms = vectors.norm(dim=1)
        return vectors / norms[:, None], norms


def model_of(module: nn.Module, kind: type[TorchModel] = TorchModel) -> TorchModel:
    return kind(module, 3, 0, CPU, tf32=False)


class OnGpu(TorchModel):
    """A model that takes its device for a GPU computing in float32."""

    def _is_float32_on_gpu(self) -> bool:
        return True


class OnMetal(TorchModel):
    """A model that takes its device for Apple's Metal."""

    def _is_on_metal(self) -> bool:
        return True


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For every copy to the host or to the device: whether the TF32 lock was held during it."""
    held: list[bool] = []
    to_host, to_device = torch.Tensor.cpu, torch.Tensor.to

    def cpu(tensor: torch.Tensor) -> torch.Tensor:
        held.append(torch_backend._TF32_LOCK.locked())
        return to_host(tensor)

    def to(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        held.append(torch_backend._TF32_LOCK.locked())
        return to_device(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    monkeypatch.setattr(torch.Tensor, "to", to)
    return held


def test_a_float32_pass_on_a_gpu_holds_the_tf32_lock_only_while_it_launches(copies: list[bool]) -> None:
    launches: list[bool] = []
    model = model_of(Tiny(lambda: launches.append(torch_backend._TF32_LOCK.locked())), OnGpu)
    assert copies, "the product that identifies TF32 was copied"
    assert not any(copies), "copying it waits for the device while other instances serve"
    copies.clear()
    model.executor(1)(TEXTS)
    assert launches == [True]
    assert len(copies) >= 4, "two inputs, two outputs"
    assert not any(copies)


def test_a_float32_pass_on_a_gpu_launches_with_its_own_tf32_flag_whatever_others_set() -> None:
    allowed: list[bool] = []
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        for tf32 in (True, False):
            module = Tiny(lambda: allowed.append(torch.backends.cuda.matmul.allow_tf32))
            model = OnGpu(module, 3, 0, CPU, tf32=tf32)
            torch.backends.cuda.matmul.allow_tf32 = not tf32
            model.executor(1)(TEXTS)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    assert allowed == [True, False]


def test_on_metal_nothing_runs_during_a_pass_not_even_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[bool] = []
    to_host = torch.Tensor.cpu

    def cpu(tensor: torch.Tensor) -> torch.Tensor:
        held.append(torch_backend._METAL_LOCK.locked())
        return to_host(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    model = model_of(Tiny(lambda: held.append(torch_backend._METAL_LOCK.locked())), OnMetal)
    model.executor(1)(TEXTS)
    assert held == [True, True, True]


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def in_new_thread(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


@pytest.mark.usefixtures("threads")
def test_a_thread_that_reuses_the_id_of_a_dead_one_still_sets_its_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    executor = model_of(Tiny(lambda: seen.append(torch.get_num_threads()))).executor(1)
    # The system reuses the id of a dead thread.
    monkeypatch.setattr(torch_backend, "threading", SimpleNamespace(get_ident=lambda: 7))
    for _ in range(2):
        torch.set_num_threads(2)  # the default of a new thread
        in_new_thread(lambda: executor(TEXTS))
    assert seen == [1, 1]


@pytest.mark.usefixtures("threads")
def test_executors_that_share_a_thread_each_run_with_their_own_number_of_threads() -> None:
    seen: list[int] = []
    model = model_of(Tiny(lambda: seen.append(torch.get_num_threads())))
    narrow, wide = model.executor(1), model.executor(2)
    for executor in (narrow, wide, narrow, wide):
        executor(TEXTS)
    assert seen == [1, 2, 1, 2]


class ClosedAfterFirstRead:
    """A shared session that is None from the second read on."""

    def __init__(self, session: Any) -> None:
        self._sessions = [session]

    @property
    def session(self) -> Any:
        return self._sessions.pop() if self._sessions else None


class Session:
    """Returns a unit vector for every text."""

    def run(self, _: object, inputs: Any) -> Any:
        n = len(inputs["input_ids"])
        return np.eye(3, dtype=np.float32)[[0] * n], np.ones(n, np.float32)


def test_an_onnx_pass_that_began_before_its_model_was_closed_succeeds_and_the_next_is_refused() -> None:
    shared: Any = ClosedAfterFirstRead(Session())
    executor = OnnxExecutor(shared, layout_of(INPUTS, 0))
    assert executor(TEXTS).in_order().unit.shape == (2, 3)
    with pytest.raises(ModelError, match="released"):
        executor(TEXTS)


class ModuleClosedAfterFirstRead(TorchModel):
    """A model whose module is None from the second read on."""

    reads: list[nn.Module]

    @property
    def _module(self) -> nn.Module | None:
        return self.reads.pop() if self.reads else None

    @_module.setter
    def _module(self, module: nn.Module | None) -> None:
        self.reads = [] if module is None else [module]


def test_a_torch_pass_that_began_before_its_model_was_closed_succeeds_and_the_next_is_refused() -> None:
    executor = model_of(Tiny(), ModuleClosedAfterFirstRead).executor(1)
    assert executor(TEXTS).in_order().unit.shape == (2, 3)
    with pytest.raises(ModelError, match="released"):
        executor(TEXTS)
