"""What the engine promises under load, faults and bad input: each test is a promise, kept by real server processes."""
