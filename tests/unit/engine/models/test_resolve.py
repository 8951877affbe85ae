"""A model is resolved, checked and described by its files, and unsupported parts are refused by name."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ModelError
from engine.host.cache import FileHashes
from engine.models.card import read_model_card
from engine.models.resolve import BUNDLED_ID, BUNDLED_PACKAGE, BUNDLED_SHA256, resolve_model
from tests.support.tiny_models import build_tiny_cls_model, build_tiny_mpnet, build_tiny_mpnet_or_xlmr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_cls_model(tmp_path_factory.mktemp("built"))


@pytest.fixture
def tiny(built: Path, tmp_path: Path) -> Path:
    """A tiny model that the test may break."""
    return Path(shutil.copytree(built, tmp_path / "tiny"))


def rewrite(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**content, **changes}))


def add_module(folder: Path, kind: str) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": len(modules), "name": "added", "path": "added", "type": kind})
    (folder / "modules.json").write_text(json.dumps(modules))


def test_the_bundled_model_is_the_published_one_and_is_described_by_its_files() -> None:
    card = resolve_model(None).card
    assert card.id == BUNDLED_ID
    assert card.weights_sha256 == BUNDLED_SHA256
    assert (card.dim, card.max_tokens, card.pooling, card.normalize, card.pad_token_id) == (384, 256, "mean", True, 0)
    assert resolve_model(BUNDLED_ID) == resolve_model(None)


def test_a_bundled_model_with_other_weights_is_refused(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / BUNDLED_PACKAGE
    shutil.copytree(tiny, package / "model")
    (package / "__init__.py").write_text("raise AssertionError('the package must be located, not imported')")
    monkeypatch.syspath_prepend(package.parent)
    with pytest.raises(ModelError, match=rf"not {BUNDLED_SHA256}: reinstall"):
        resolve_model(None)


def test_legacy_and_current_configuration_files_are_read(tmp_path: Path) -> None:
    new = resolve_model(str(build_tiny_cls_model(tmp_path / "new"))).card
    assert (new.pooling, new.normalize, new.max_tokens) == ("cls", False, 64)
    assert new.prompts == {"query": "find this: ", "document": ""}
    old = resolve_model(str(build_tiny_mpnet_or_xlmr(tmp_path / "old"))).card
    assert (old.pooling, old.normalize, old.max_tokens, old.dim) == ("max+mean", True, 70, 24)
    plain = resolve_model(str(build_tiny_mpnet(tmp_path / "plain"))).card
    assert (plain.pooling, plain.normalize, plain.max_tokens, plain.pad_token_id) == ("mean", False, 60, 1)


def test_the_limit_never_exceeds_the_positions_that_a_roberta_like_model_has(tiny: Path) -> None:
    rewrite(tiny / "config.json", model_type="roberta", max_position_embeddings=40, pad_token_id=1)
    assert read_model_card(tiny, "tiny").max_tokens == 38
    rewrite(tiny / "sentence_bert_config.json", max_seq_length=20)
    assert read_model_card(tiny, "tiny").max_tokens == 20


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("sentence_transformers.models.LSTM", "LSTM"),
        ("sentence_transformers.models.WeightedLayerPooling", "WeightedLayerPooling"),
        ("their_repo.modeling.Special", "their_repo.modeling.Special"),
    ],
)
def test_an_unsupported_module_is_refused_by_name(tiny: Path, kind: str, named: str) -> None:
    add_module(tiny, kind)
    with pytest.raises(ModelError, match=named):
        resolve_model(str(tiny))


def test_an_unsupported_pooling_or_activation_is_refused(tiny: Path) -> None:
    add_module(tiny, "sentence_transformers.models.Dense")
    rewrite(tiny / "added" / "config.json", in_features=32, out_features=8, activation_function="os.system")
    with pytest.raises(ModelError, match=r"activation os\.system"):
        resolve_model(str(tiny))
    rewrite(tiny / "1_Pooling" / "config.json", pooling_mode="median")
    with pytest.raises(ModelError, match="Pooling with mode 'median'"):
        resolve_model(str(tiny))


def test_weights_only_as_a_pickle_are_refused(tiny: Path) -> None:
    (tiny / "model.safetensors").rename(tiny / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"\.bin, a pickle, which is never loaded: convert"):
        resolve_model(str(tiny))


@pytest.mark.parametrize("missing", ["config.json", "1_Pooling/config.json", "model.safetensors"])
def test_an_incomplete_folder_is_refused_with_the_missing_file(tiny: Path, missing: str) -> None:
    (tiny / missing).unlink()
    with pytest.raises(ModelError, match=missing):
        resolve_model(str(tiny))


def test_a_broken_json_file_is_refused_by_name(tiny: Path) -> None:
    (tiny / "modules.json").write_text("[{")
    with pytest.raises(ModelError, match=r"modules\.json cannot be read"):
        resolve_model(str(tiny))


def test_errors_of_a_missing_folder_and_an_unreachable_hub_id_name_the_next_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"no folder \./nowhere"):
        resolve_model("./nowhere")
    with pytest.raises(ModelError, match="check the network and HF_HUB_OFFLINE, or give a folder"):
        resolve_model("nobody/no-such-model")
    with pytest.raises(ModelError, match="neither a folder nor a hub id"):
        resolve_model("not a model!")


def test_the_fingerprint_depends_on_everything_that_affects_a_vector_and_not_on_the_name(
    tiny: Path, tmp_path: Path
) -> None:
    before = resolve_model(str(tiny)).fingerprint
    assert resolve_model(shutil.copytree(tiny, tmp_path / "elsewhere").as_posix()).fingerprint == before
    rewrite(tiny / "1_Pooling" / "config.json", pooling_mode="mean")
    assert resolve_model(str(tiny)).fingerprint != before


def test_a_file_is_hashed_again_only_after_it_was_modified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    open_file = Path.open

    def counting(self: Path, *arguments: Any, **more: Any) -> Any:
        hashed.append(self)
        return open_file(self, *arguments, **more)

    monkeypatch.setattr(Path, "open", counting)
    weights = tmp_path / "weights"
    weights.write_bytes(b"one")
    del hashed[:]
    first = FileHashes(tmp_path / "cache").sha256(weights)
    assert FileHashes(tmp_path / "cache").sha256(weights) == first
    assert hashed.count(weights) == 1
    weights.write_bytes(b"changed")
    assert FileHashes(tmp_path / "cache").sha256(weights) != first
