"""What this machine can run: rules, probes that confirm them, and the capability matrix."""
