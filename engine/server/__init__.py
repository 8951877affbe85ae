"""The server process: start, serve, drain, exit."""
