"""Compares this engine with other servers: `make bench`, or `python -m benchmarks.peers --help` for a part of it.

Every peer has its own virtual environment and is called through its fastest interface. A round restarts every server
and gives every contender one turn at every workload in a new random order. The round is the unit of the statistics.
"""
