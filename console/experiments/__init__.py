"""From measurements to verdicts: statistics, and the headless run."""
