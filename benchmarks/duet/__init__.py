"""A paired comparison of two commits, in the manner of duet benchmarking: see `benchmarks/ab.py`."""
