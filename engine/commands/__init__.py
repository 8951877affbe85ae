"""The bodies of the engine's commands other than `serve`, one file each."""
