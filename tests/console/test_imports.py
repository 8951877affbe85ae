"""The screens load no runtime, and no session before it is made: a subprocess reads sys.modules."""

import subprocess
import sys

HEAVY = ("torch", "onnxruntime", "openvino", "transformers", "tokenizers", "grpc", "numpy", "console.session.session")


def test_importing_the_console_loads_no_runtime_and_no_grpc() -> None:
    code = f"import sys, console.tui.app; print([name for name in {HEAVY} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "[]"


def test_the_registry_imports_no_textual() -> None:
    code = "import sys, console.actions; print('textual' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "False"
