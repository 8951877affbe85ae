#!/bin/sh
# Installs torch before everything else, so that a CPU-only Linux machine does not download gigabytes of CUDA packages.
# PIP and PY are given by the Makefile; TORCH_SPEC overrides the choice.
set -eu
version=2.13.0 # what the exports are verified with; newer ones work if `make test` says so
cpu_index=https://download.pytorch.org/whl/cpu

if "$PY" -c 'import torch' 2>/dev/null; then exit 0; fi
if [ -n "${TORCH_SPEC:-}" ]; then exec $PIP install --quiet "$TORCH_SPEC"; fi
if [ "$(uname -s)" != Linux ] || [ -e /dev/nvidiactl ]; then exec $PIP install --quiet "torch==$version"; fi
if $PIP install --quiet "torch==$version+cpu" 2>/dev/null; then exit 0; fi
if $PIP install --quiet --index-url "$cpu_index" "torch==$version+cpu"; then exit 0; fi
echo "no CPU build of torch $version could be installed; TORCH_SPEC=torch==$version make console takes the CUDA one" >&2
exit 1
