"""Helpers of the tests: doubles of devices, inputs good and bad, the program in a process."""
