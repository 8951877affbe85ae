"""Casts and quantises torch modules while they are loaded (int8, int4, fp8), and reads their effective precision."""

import importlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.backends.base import Cell
from engine.backends.recipes import recipe_of
from engine.backends.smoothing import smoothing_scale, worth_smoothing
from engine.backends.torch.module import SentenceModule
from engine.backends.torch.onednn import OneDnnLinear
from engine.backends.torch.optimised_module import optimise
from engine.errors import ModelError
from engine.scheduling.contract import TokenIds

SMOOTHING_FILE = "smoothing.npz"
_CASTS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_POOLER = "pooler"
"""It does not contribute to vectors, so it is neither quantised nor counted."""


class SmoothedLinear(nn.Module):
    """A linear layer whose weights are multiplied by `scale` and whose input is divided by it."""

    def __init__(self, linear: nn.Linear, scale: Tensor) -> None:
        super().__init__()
        linear.weight.data = linear.weight.data * scale
        self.linear = linear
        self.factor: Tensor
        self.register_buffer("factor", 1 / scale)

    def forward(self, values: Tensor) -> Tensor:
        smoothed: Tensor = self.linear(values * self.factor)
        return smoothed


def measure_smoothing(module: SentenceModule, calibration: Sequence[TokenIds], folder: Path) -> None:
    """Runs the calibration texts one by one and writes the smoothing scales of each linear layer to `folder`."""
    layers = {
        name: layer
        for name, layer in linear_layers(module).items()
        if worth_smoothing(layer.in_features, layer.out_features)
    }
    largest: dict[str, Tensor] = {}

    def hook(name: str, layer: nn.Linear) -> Any:
        def record(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            magnitudes = inputs[0].abs().reshape(-1, layer.in_features).amax(dim=0)
            largest[name] = torch.maximum(largest.get(name, magnitudes), magnitudes)

        return layer.register_forward_pre_hook(record)

    hooks = [hook(name, layer) for name, layer in layers.items()]
    with torch.inference_mode():
        for text in calibration:
            ids = torch.tensor([list(text)])
            module(ids, torch.ones_like(ids))
    for handle in hooks:
        handle.remove()
    with torch.no_grad():
        weights = {name: layers[name].weight.abs().amax(dim=0).numpy() for name in largest}
    scales: dict[str, Any] = {name: smoothing_scale(largest[name].numpy(), weights[name]) for name in largest}
    np.savez(folder / SMOOTHING_FILE, **scales)


def convert(module: SentenceModule, cell: Cell, artifact: Path, pad_token_id: int) -> nn.Module:
    """Converts `module` to the precision and device of the cell. Modifies the given module. Raises ModelError."""
    recipe = recipe_of(cell)
    if recipe.name in ("plain", "cast", "eager"):
        cast = module.to(device=cell.device, dtype=_CASTS[cell.precision])
        return optimise(cast, pad_token_id) if cell.device == "cpu" and recipe.name != "eager" else cast
    on_gpu = cell.device != "cpu"
    if on_gpu:
        module = module.to(device=cell.device, dtype=torch.bfloat16)
    try:
        if recipe.name in ("smoothed", "dynamic"):
            if recipe.name == "smoothed":
                _smooth(module, artifact / SMOOTHING_FILE)
            return _dynamic_int8(module)
        if recipe.name == "nf4":
            return _nf4(module, torch.bfloat16 if on_gpu else torch.float32, cell.device)
        return _torchao(module, cell.precision)
    except ImportError as error:
        package = error.name or recipe.needs[0]
        raise ModelError(f"torch {cell.precision} needs {package}: pip install 'embedconsole[quantize]'") from error


def linear_layers(module: nn.Module) -> dict[str, nn.Linear]:
    """Returns the linear layers that contribute to vectors, by name."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and _POOLER not in name.split(".")
    }


def linear_precisions(module: nn.Module) -> Counter[str]:
    """Returns the number of linear layers by the precision of their weights, read from the loaded module."""
    counts: Counter[str] = Counter()
    for name, layer in module.named_modules():
        if _POOLER in name.split("."):
            continue
        if isinstance(layer, torch.ao.nn.quantized.dynamic.Linear):
            packed: Any = layer  # torch has no types for it
            counts[_precision_name(packed.weight().dtype)] += 1
        elif isinstance(layer, nn.Linear | OneDnnLinear):
            counts[_weight_precision(layer.weight)] += 1
    return counts


def _weight_precision(weight: Any) -> str:
    if getattr(weight, "quant_type", ""):  # bitsandbytes packs two 4-bit codes into a byte
        return "int4" if weight.dtype == torch.uint8 else _precision_name(weight.dtype)
    if type(weight) not in (nn.Parameter, Tensor) and hasattr(weight, "__tensor_flatten__"):
        inner = (getattr(weight, name) for name in weight.__tensor_flatten__()[0])
        return _precision_name(min((tensor.dtype for tensor in inner), key=lambda dtype: dtype.itemsize))
    return _precision_name(weight.dtype)


def _precision_name(dtype: torch.dtype) -> str:
    names = {
        torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16", torch.qint8: "int8", torch.int8: "int8",
        torch.float8_e4m3fn: "fp8",
    }  # fmt: skip
    return names.get(dtype, str(dtype).removeprefix("torch."))


def _replace(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(module.get_submodule(parent), child, layer)


def _smooth(module: nn.Module, path: Path) -> None:
    layers = linear_layers(module)
    with np.load(path, allow_pickle=False) as scales:
        for name in scales.files:
            _replace(module, name, SmoothedLinear(layers[name], torch.from_numpy(scales[name])))


def _dynamic_int8(module: nn.Module) -> nn.Module:
    """Dynamic int8 of torch: weights per channel, activations per batch. Deprecated, but still the fastest."""
    engines = torch.backends.quantized.supported_engines
    if torch.backends.quantized.engine not in ("x86", "fbgemm", "onednn", "qnnpack"):
        if "qnnpack" not in engines:
            raise ModelError("this build of torch has no engine for int8: choose --backend onnx with int8")
        torch.backends.quantized.engine = "qnnpack"  # for ARM; the default fails with "Didn't find engine … NoQEngine"
    quantization: Any = torch.ao.quantization  # it has no types
    layers = dict.fromkeys(linear_layers(module), quantization.per_channel_dynamic_qconfig)
    quantised: nn.Module = quantization.quantize_dynamic(module, layers, inplace=True)
    return quantised


def _nf4(module: nn.Module, compute: torch.dtype, device: str) -> nn.Module:
    """4-bit normal floats of bitsandbytes in blocks of 64, computed in `compute`."""
    layers: Any = importlib.import_module("bitsandbytes.nn")  # it has no types

    for name, layer in linear_layers(module).items():
        quantised = layers.Linear4bit(
            layer.in_features, layer.out_features, bias=layer.bias is not None, compute_dtype=compute, quant_type="nf4"
        )
        quantised.load_state_dict(layer.state_dict())
        _replace(module, name, quantised.to(device))
    return module


def _torchao(module: nn.Module, precision: str) -> nn.Module:
    """Quantises with torchao: a scale per token and per channel, without calibration."""
    import torchao.quantization as quantization

    scheme = {
        "int8": quantization.Int8DynamicActivationInt8WeightConfig,
        "fp8": quantization.Float8DynamicActivationFloat8WeightConfig,
    }[precision]
    names = linear_layers(module).keys()
    quantization.quantize_(module, scheme(), filter_fn=lambda _, name: name in names)
    return module
