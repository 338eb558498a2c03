"""Timed figures, with the machine and their spread: `.venv/bin/python -m benchmarks`."""
