#!/bin/sh
# Makes the files in this folder with the code of commit 31acd2e. README.md says how to call it.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
WORK=${WORK:-/tmp/embedconsole-31acd2e}
PYTHON=${PYTHON:-python}

mkdir -p "$WORK/spill"
test -d "$WORK/src" || git clone --quiet "$(git -C "$HERE" rev-parse --show-toplevel)" "$WORK/src"
git -C "$WORK/src" checkout --quiet 31acd2e
cd "$WORK/src"
export PYTHONPATH="$WORK/src" TMPDIR="$WORK/spill" EMBEDCONSOLE_CACHE="$WORK/cache"
export EMBEDCONSOLE_STORE="$WORK/runs.sqlite" EMBEDCONSOLE_STATE="$WORK/console.json"
rm -f "$EMBEDCONSOLE_STORE"* "$EMBEDCONSOLE_STATE" "$WORK"/spill/r-*.json

embedconsole() { "$PYTHON" -m console.cli "$@"; }
try() { embedconsole "$@" || test $? -lt 5; }  # 1, 2 and 4 are verdicts
SHORT="--backend onnx --duration 2s --warmup 1s --batch 8 --concurrency 2"

cp "$HERE/sweep.toml" "$WORK/sweep.toml"
try sweep "$WORK/sweep.toml" --json > "$WORK/sweep.json"
try compare --live 'onnx fp32' 'onnx int8' --rounds 2 --duration 2s --warmup 1s --batch 8 --concurrency 2 > /dev/null
embedconsole runs --limit 0 --json > "$WORK/before.json"
try max-load --closed --slo-p95 60 --backend onnx --precision int8 --batch 8 --duration 1s --warmup 0s > /dev/null
# The first two trials are kept: on a busy machine one holds 30 seconds, and this file shall be small.
embedconsole runs --limit 0 --json | "$PYTHON" -c '
import json, sys
before = {row["run_id"] for row in json.load(open(sys.argv[1]))}
print(*[row["run_id"] for row in json.load(sys.stdin) if row["run_id"] not in before][:-2])
' "$WORK/before.json" | xargs -r "$PYTHON" -m console.cli runs delete --yes
try run --backend onnx --precision fp32 --batch 1 --rate 20 --arrival constant --duration 2s --warmup 1s --slo-p95 0.5 \
    --json > "$WORK/run.json"
embedconsole runs tag last open main
embedconsole runs note last "an open loop whose SLO cannot be met"
try run $SHORT --precision bf16 --workload pairs > /dev/null  # falls back to fp32
embedconsole runs pin fallback last

# A run that fails, one that is interrupted, one that is killed, and one that the store could not take.
"$PYTHON" - $SHORT <<'PYTHON'
import os, signal, sqlite3, subprocess, sys, time
import psutil

RUN = (sys.executable, "-m", "console.cli", "run", *sys.argv[1:], "--precision", "fp32")


def begun(known: int) -> None:
    """Returns when another run has its first interval."""
    while True:
        with sqlite3.connect(os.environ["EMBEDCONSOLE_STORE"]) as store:
            if store.execute("SELECT count(DISTINCT run_id) FROM interval").fetchone()[0] > known:
                return
        time.sleep(0.05)


def count() -> int:
    with sqlite3.connect(os.environ["EMBEDCONSOLE_STORE"]) as store:
        return store.execute("SELECT count(DISTINCT run_id) FROM interval").fetchone()[0]


def engine_of(process: subprocess.Popen) -> psutil.Process:
    children = psutil.Process(process.pid).children()
    return next(child for child in children if "engine.cli" in child.cmdline())


known = count()
failed = subprocess.Popen(RUN)
begun(known)
engine_of(failed).kill()
assert failed.wait() == 5
known = count()
interrupted = subprocess.Popen(RUN)
begun(known)
interrupted.send_signal(signal.SIGINT)
assert interrupted.wait() == 130
known = count()
killed = subprocess.Popen(RUN)
begun(known)
killed.kill()
killed.wait()
known = count()
laid_aside = subprocess.Popen(RUN)
begun(known)
lock = sqlite3.connect(os.environ["EMBEDCONSOLE_STORE"], isolation_level=None)
lock.execute("BEGIN IMMEDIATE")
laid_aside.wait()
lock.execute("ROLLBACK")
PYTHON

cp "$WORK"/spill/r-*.json "$HERE/spill.json"  # there is one
"$PYTHON" - "$EMBEDCONSOLE_STORE" "$HERE/runs.sqlite" <<'PYTHON'
import pathlib, sqlite3, sys

pathlib.Path(sys.argv[2]).unlink(missing_ok=True)
with sqlite3.connect(sys.argv[1]) as store:
    store.execute("PRAGMA page_size = 512")  # else half of the file is empty: rows of intervals are long
    store.execute("VACUUM INTO ?", (sys.argv[2],))
PYTHON
sh "$HERE/record.sh"
