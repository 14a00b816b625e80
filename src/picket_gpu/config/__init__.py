"""What the user asks for: the parameter file, its models, and what may be wrong with it.

Computes nothing. May use `files` (where a volume is), `method` (a feature mode's settings are
beside its mathematics) and `device` (its name).
"""
