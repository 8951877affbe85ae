"""The machine and the process: facts, threads, child processes, memory, the cache folder."""
