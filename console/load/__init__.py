"""The load driver: a child process that keeps an engine busy and tells what it measured.

`console.load.protocol` is what crosses the pipe; `python -m console.load` is the child.
"""
