"""The machine and the process: machine facts, threads, child processes, memory, and the cache folder."""
