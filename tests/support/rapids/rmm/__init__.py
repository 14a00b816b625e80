"""What picket_gpu and cuML need of RMM, as RMM 26.10 does it, without a device."""

from rmm import mr

__all__ = ["mr"]
