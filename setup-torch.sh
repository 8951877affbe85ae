#!/bin/sh
# Installs torch before everything else, so that a CPU-only Linux machine does not download gigabytes of CUDA packages.
# PIP and PY are given by the Makefile; TORCH_SPEC overrides the choice (a CUDA user of Linux needs nothing: see README).
set -eu
version=2.13.0 # what the exports are verified with; newer ones work if `make test` says so
spec=${TORCH_SPEC:-torch==$version}
if "$PY" -c 'import torch' 2>/dev/null; then exit 0; fi
if [ -z "${TORCH_SPEC:-}" ] && [ "$(uname -s)" = Linux ] && ! [ -e /dev/nvidiactl ]; then
  $PIP install --quiet "torch==$version+cpu" 2>/dev/null ||
    exec $PIP install --quiet --index-url https://download.pytorch.org/whl/cpu "torch==$version+cpu"
else
  $PIP install --quiet "$spec"
fi
