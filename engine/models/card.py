"""A model card, read from the JSON files of a model: pooling, normalisation, prompts, limits."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import ModelError
from engine.host.os_errors import describe

POOLING_MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
_LEGACY_POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}  # in the order sentence-transformers concatenates them
_SENTENCE_CONFIGS = tuple(
    f"sentence_{family}_config.json"
    for family in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_POSITIONS_AFTER_PADDING = frozenset(
    f"{prefix}{name}"
    for prefix, names in {
        "": ("camembert", "data2vec-text", "longformer", "mpnet", "xmod"),
        "roberta": ("", "-prelayernorm"),
        "xlm-roberta": ("", "-xl"),
    }.items()
    for name in names
)
"""Model types whose first position is pad_token_id + 1, so that as many positions cannot be used."""


@dataclass(frozen=True, slots=True)
class DenseLayer:
    """A linear layer after pooling: the folder of its weights, its shape, and its activation."""

    path: str
    in_features: int
    out_features: int
    bias: bool
    activation: str
    """Dotted name of a torch.nn module class."""
    residual: bool


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Everything about a model except its weights."""

    id: str
    dim: int
    max_tokens: int
    """Including special tokens."""
    pooling: str
    """Pooling modes; several are concatenated and joined by `+`."""
    normalize: bool
    """Whether the modules of the model end with a normalisation."""
    dense: tuple[DenseLayer, ...]
    prompts: dict[str, str]
    default_prompt: str | None
    lowercase: bool
    """Whether texts are lower-cased before they are passed to the tokenizer."""
    pad_token_id: int
    architecture: str
    """`model_type` of config.json."""
    transformer_path: str
    """Folder of config.json and the weights, relative to the folder of the model."""
    weights_sha256: str = ""
    """Hash of the transformer's weights; empty until resolve.py computes it."""


def read_model_card(root: Path, model_id: str) -> ModelCard:
    """Reads the card of the model in `root`. Raises ModelError that names the unusable file or module.

    A folder without modules.json is a plain transformers model: mean pooling and no normalisation, as in
    sentence-transformers.
    """
    modules = _modules(root)
    transformer_path = modules[0][1] if modules else ""
    config = _read(root / transformer_path / "config.json", required=True)
    sentence_config = _sentence_config(root / transformer_path)
    if sentence_config.get("module_output_name", "token_embeddings") != "token_embeddings":
        raise ModelError(f"{model_id}: only transformers that return token embeddings are supported")
    hidden = int(config.get("hidden_size") or config.get("dim") or config.get("d_model") or 0)
    if not hidden:
        raise ModelError(f"{root / transformer_path / 'config.json'} has no hidden_size: not a text encoder")
    prompts_config = _read(root / "config_sentence_transformers.json")
    prompts = {name: text for name, text in (prompts_config.get("prompts") or {}).items() if isinstance(text, str)}
    if prompts_config.get("truncate_dim"):
        raise ModelError(f"{model_id}: truncate_dim is not supported; remove it and request `dimensions` instead")
    pooling, dense, normalize = _after_transformer(root, model_id, modules, any(prompts.values()))
    pooled_dim = hidden * len(pooling.split("+"))
    pad = _pad_token_id(config)
    return ModelCard(
        id=model_id,
        dim=dense[-1].out_features if dense else pooled_dim,
        max_tokens=_max_tokens(root / transformer_path, config, sentence_config, pad),
        pooling=pooling,
        normalize=normalize,
        dense=dense,
        prompts=prompts,
        default_prompt=prompts_config.get("default_prompt_name"),
        lowercase=bool(sentence_config.get("do_lower_case")),
        pad_token_id=pad,
        architecture=str(config.get("model_type", "")),
        transformer_path=transformer_path,
    )


def _read(path: Path, *, required: bool = False) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if required:
            raise ModelError(f"{path} is missing: give the folder of a complete model, or a hub id") from None
        return {}
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {describe(error)}") from error
    except ValueError as error:
        raise ModelError(f"{path} cannot be read ({type(error).__name__}): download the model again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} should contain a JSON object: download the model again")
    return content


def _modules(root: Path) -> list[tuple[str, str]]:
    """Returns (kind, folder) of each module in order; empty for a plain transformers model. Raises ModelError."""
    path = root / "modules.json"
    if not path.exists():
        return []
    try:
        entries = sorted(json.loads(path.read_text("utf-8")), key=lambda entry: entry["idx"])
        modules = [(str(entry["type"]), str(entry["path"])) for entry in entries]
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {describe(error)}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} cannot be read ({type(error).__name__}): download the model again") from error
    for kind, folder in modules:
        if not kind.startswith("sentence_transformers."):
            raise ModelError(f"module {kind} contains its own code, which is never run: choose another model")
        if not (root / folder).resolve().is_relative_to(root.resolve()):
            raise ModelError(f"module {kind} lies outside the model's folder: download the model again")
    modules = [(kind.rpartition(".")[2], folder) for kind, folder in modules]
    if not modules or modules[0][0] != "Transformer":
        raise ModelError(
            f"the first module is {modules[0][0] if modules else 'missing'}, only Transformer is supported"
        )
    return modules


def _after_transformer(
    root: Path, model_id: str, modules: list[tuple[str, str]], prompted: bool
) -> tuple[str, tuple[DenseLayer, ...], bool]:
    """Pooling, dense layers, and whether a normalisation ends it. Raises ModelError naming what is unsupported."""
    if not modules:
        return "mean", (), False
    if len(modules) < 2 or modules[1][0] != "Pooling":
        kind = modules[1][0] if len(modules) > 1 else "missing"
        raise ModelError(f"{model_id}: the second module is {kind}, only Pooling is supported there")
    pooling = _pooling(root / modules[1][1], prompted)
    dense: list[DenseLayer] = []
    normalize = False
    for kind, folder in modules[2:]:
        if kind == "Dropout":  # does nothing at inference
            continue
        if kind not in ("Dense", "Normalize"):
            raise ModelError(f"{model_id}: module {kind} is not supported (Transformer, Pooling, Dense, Normalize are)")
        if normalize and kind == "Dense":
            raise ModelError(f"{model_id}: module Dense after Normalize is not supported")
        config = _read(root / folder / "config.json", required=kind == "Dense")
        if config.get("module_input_name", "sentence_embedding") != "sentence_embedding":
            raise ModelError(f"{model_id}: module {kind} on token embeddings is not supported")
        if kind == "Dense":
            dense.append(_dense(config, folder, model_id))
        normalize = normalize or kind == "Normalize"
    return pooling, tuple(dense), normalize


def _pooling(folder: Path, prompted: bool) -> str:
    config = _read(folder / "config.json", required=True)
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [mode for flag, mode in _LEGACY_POOLING_FLAGS.items() if config.get(flag)] or ["mean"]
    modes = [modes] if isinstance(modes, str) else list(modes)
    for mode in modes:
        if mode not in POOLING_MODES:
            raise ModelError(f"module Pooling with mode {mode!r} is not supported ({', '.join(POOLING_MODES)} are)")
    if prompted and not config.get("include_prompt", True):
        raise ModelError("module Pooling that excludes the prompt (include_prompt false) is not supported")
    return "+".join(modes)


def _dense(config: dict[str, Any], folder: str, model_id: str) -> DenseLayer:
    activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    if not activation.startswith("torch.nn."):
        raise ModelError(f"{model_id}: module Dense with activation {activation} is not supported")
    try:
        return DenseLayer(
            path=folder,
            in_features=int(config["in_features"]),
            out_features=int(config["out_features"]),
            bias=bool(config.get("bias", True)),
            activation=activation,
            residual=bool(config.get("use_residual", False)),
        )
    except KeyError as error:
        raise ModelError(f"{model_id}: module Dense has no {error} in config.json: download it again") from error


def _sentence_config(folder: Path) -> dict[str, Any]:
    for name in _SENTENCE_CONFIGS:
        if (folder / name).exists():
            return _read(folder / name)
    return {}


def _pad_token_id(config: dict[str, Any]) -> int:
    declared = config.get("pad_token_id")
    if declared is not None:
        return int(declared)
    return 1 if config.get("model_type") in _POSITIONS_AFTER_PADDING else 0


def _max_tokens(folder: Path, config: dict[str, Any], sentence_config: dict[str, Any], pad: int) -> int:
    """Returns the limit of sentence-transformers, but at most what the position embeddings allow.

    Raises ModelError when no file sets a limit.
    """
    positions = config.get("max_position_embeddings")
    limits: list[int] = []
    if isinstance(positions, int) and positions > 0:
        limits.append(positions - (pad + 1) if config.get("model_type") in _POSITIONS_AFTER_PADDING else positions)
    configured = sentence_config.get("max_seq_length")
    if configured is None:
        configured = _read(folder / "tokenizer_config.json").get("model_max_length")
    if configured is not None and 0 < configured < 10**9:  # 1e30 means no limit
        limits.append(int(configured))
    if not limits:
        raise ModelError(f"{folder} sets no maximum length: add max_seq_length to sentence_bert_config.json")
    return min(limits)
