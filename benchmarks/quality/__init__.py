"""How well the workflows find known particles: `python -m benchmarks.quality`."""
