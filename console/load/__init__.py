"""The load generator: a child process that sends requests to an engine and reports its measurements.

`console.load.protocol` defines the messages on its pipes; `python -m console.load` is the process.
"""
