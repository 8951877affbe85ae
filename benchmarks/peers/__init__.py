"""Peers and ours in one run: `make bench`, or `python -m benchmarks.peers --help` for a part of it.

Every peer lives in a virtual environment of its own and is asked through its fastest own interface. A round starts
every server afresh and gives every contender its turn at every workload in a fresh random order; the round is the unit.
"""
