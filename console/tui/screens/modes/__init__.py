"""The five modes: Live, Sweep, Runs, Compare and Log."""
