"""Runs infinity's server with a lifeline: `python infinity_server.py v2 --model-id …`, in its environment.

It exits when stdin ends, so that it does not outlive a benchmark that was killed.
"""

import os
import signal
import sys
import threading

from infinity_emb.cli import cli


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(cli())
