"""What `python -m benchmarks` measures: time and memory of whole runs and of their stages."""
