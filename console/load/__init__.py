"""The load driver: a child process that sends requests and measures what the client sees."""
