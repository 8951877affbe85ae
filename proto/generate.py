"""Regenerates the committed stubs of engine/api from embed/v1/embed.proto (`make proto`).

protoc names the generated package after the proto path (`embed.v1`); the stubs live inside `engine.api`, so their
imports are rewritten to where they are. `--out DIR` writes elsewhere, which is how a test proves there is no diff.
"""

import argparse
import re
import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

PROTO_ROOT = Path(__file__).resolve().parent
API_ROOT = PROTO_ROOT.parent / "engine" / "api"


def generate(out: Path) -> list[Path]:
    """Writes the stubs below `out` and returns their paths. Raises RuntimeError with protoc's exit code."""
    out.mkdir(parents=True, exist_ok=True)
    includes = [PROTO_ROOT, Path(str(files("grpc_tools"))) / "_proto", _googleapis_root()]
    kinds = ["python", "grpc_python", "mypy", "mypy_grpc"]
    # By path: the environment's own plugins, whether or not it was activated.
    plugins = [f"--plugin={path}" for path in sorted(Path(sys.executable).parent.glob("protoc-gen-mypy*"))]
    arguments = [*(f"-I{path}" for path in includes), *(f"--{kind}_out={out}" for kind in kinds)]
    code = protoc.main(["protoc", *plugins, *arguments, "embed/v1/embed.proto"])
    if code:
        raise RuntimeError(f"protoc failed with exit code {code}")
    written = sorted((out / "embed" / "v1").glob("embed_pb2*"))
    for path in written:
        moved = re.sub(
            r"^from embed\.v1 import", "from engine.api.embed.v1 import", path.read_text(), flags=re.MULTILINE
        )
        path.write_text(moved)
    return written


def _googleapis_root() -> Path:
    """The folder that holds google/rpc/*.proto, shipped by googleapis-common-protos."""
    import google.rpc.status_pb2

    return Path(str(google.rpc.status_pb2.__file__)).parents[2]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=API_ROOT)
    for stub in generate(parser.parse_args().out):
        print(stub, file=sys.stderr)
