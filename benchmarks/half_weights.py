"""Copies a model with its weights in half precision, at half the size: `python -m benchmarks.half_weights FOLDER`.

It is used to transfer the bundled model to a machine without it. Figures of a copy are relative to its own fp32, not to
that of the original.
"""

import argparse
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from engine.models.resolve import resolve_model

WEIGHTS = "model.safetensors"


def main() -> None:
    """Copies the configuration and the tokenizer unchanged, and casts every float tensor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder of the copy; created if it does not exist")
    parser.add_argument("--model", help="a folder or a hub id (default: the bundled model)")
    asked = parser.parse_args()
    files = resolve_model(asked.model)
    for source in sorted(files.path.rglob("*")):
        made = asked.folder / source.relative_to(files.path)
        if source.suffix not in (".json", ".txt", ".model", ".safetensors") or "onnx" in source.parts:
            continue
        made.parent.mkdir(parents=True, exist_ok=True)
        if source.name == WEIGHTS:
            tensors = load_file(source)
            save_file({name: one.half() if one.is_floating_point() else one for name, one in tensors.items()}, made)
        else:
            shutil.copy(source, made)
    print(
        f"{asked.folder}: {sum(path.stat().st_size for path in asked.folder.rglob('*') if path.is_file()) / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
