"""Fidelity of the live deployment, over the wire and by the command, on the caller's texts."""

import json
import subprocess
import sys
from pathlib import Path

from engine.api import embed_pb2
from engine.api.client import EmbedClient
from tests.support.patience import HANGS_AFTER_S

TEXTS = [
    f"{subject} {verb} in {place}"
    for subject in ("a ferry", "the orchestra", "an old friend", "this law")
    for verb in ("was seen", "failed", "is expected")
    for place in ("the harbour", "spring", "three of the five towns")
]


async def test_the_live_deployment_is_measured_on_the_callers_texts(client: EmbedClient) -> None:
    request = embed_pb2.MeasureFidelityRequest(corpus=TEXTS)
    events = [event async for event in client.control.MeasureFidelity(request, timeout=HANGS_AFTER_S)]
    last = events[-1]
    assert last.n == len(TEXTS)
    assert last.cosine.min > 0.9999
    assert last.batched.min > 0.9999
    assert last.noise_floor.min > 0.9999
    assert (last.overlap_at_10, last.grade) == (1.0, embed_pb2.GREEN)
    assert {event.phase for event in events[:-1]} >= {"measure"}
    again = [event async for event in client.control.MeasureFidelity(request, timeout=HANGS_AFTER_S)]
    assert {event.phase for event in again[:-1]} == {"measure"}, "the fp32 vectors of a corpus are computed once"


def fidelity(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "engine.cli", "fidelity", "--backend", "onnx", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_prints_the_contract_s_object_and_nothing_else_on_stdout(tmp_path: Path) -> None:
    corpus = tmp_path / "mine.txt"
    corpus.write_text("\n".join(TEXTS), "utf-8")
    done = fidelity("--precision", "fp32", "--corpus", str(corpus), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"n", "cosine", "overlap_at_1", "overlap_at_10", "spearman", "batched", "grade"} <= set(found)
    assert set(found["cosine"]) == set(found["batched"]["cosine"]) == {"mean", "p1", "min"}
    assert (found["n"], found["grade"]) == (len(TEXTS), "green")
    assert found["effective"]["recipe"] == "plain"


def test_bad_questions_are_refused_with_the_next_step(tmp_path: Path) -> None:
    few = tmp_path / "few.txt"
    few.write_text("one\ntwo\n", "utf-8")
    done = fidelity("--corpus", str(few))
    assert done.returncode == 3
    assert "at least 12" in done.stderr
    done = fidelity("--recipe", "magic")
    assert done.returncode == 5
    assert "choose one of plain" in done.stderr
