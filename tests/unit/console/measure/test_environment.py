"""The environment has one hash, which changes with whatever could change a measurement."""

import subprocess
from dataclasses import replace
from pathlib import Path

from console.measure.environment import environment, git_revision
from console.model.engine import Engine, Machine, ModelCard

ENGINE = Engine(
    cpu_model="Fake CPU",
    cores=2,
    evidence="fake",
    machine=Machine("box", "linux-x86_64", "Linux 6", ("avx2",), 1 << 30, packages=(("onnxruntime", "1.22"),)),
    model=ModelCard("fake/MiniLM", 384, 256, "mean", True, "53aa", "f00d"),
)


def test_the_hash_is_of_the_content(tmp_path: Path) -> None:
    def hash_of(engine: Engine) -> str:
        return str(environment(engine, tmp_path)["hash"])

    assert hash_of(ENGINE) == hash_of(replace(ENGINE, evidence="of another deployment", pid=7))
    changed = (
        replace(ENGINE, cpu_model="Other CPU"),
        replace(ENGINE, machine=replace(ENGINE.machine, governor="powersave")),
        replace(ENGINE, machine=replace(ENGINE.machine, packages=(("onnxruntime", "1.23"),))),
        replace(ENGINE, model=replace(ENGINE.model, fingerprint="beef")),
    )
    assert len({hash_of(engine) for engine in (ENGINE, *changed)}) == 1 + len(changed)


def test_it_tells_of_the_engine_s_machine_not_of_this_one(tmp_path: Path) -> None:
    found = environment(ENGINE, tmp_path)
    assert found["platform"] == "Linux 6"
    assert found["host_name"] == "box"
    assert found["libraries"] == {"onnxruntime": "1.22"}
    assert found["git"] is None


def test_a_revision_is_marked_where_files_differ_from_it(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *identity, "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "first")
    clean = git_revision(tmp_path)
    assert clean is not None
    assert clean["dirty"] is False
    git_revision.cache_clear()
    (tmp_path / "file").write_text("two")
    assert git_revision(tmp_path) == {"revision": clean["revision"], "dirty": True}
