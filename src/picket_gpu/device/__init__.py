"""Devices: arrays, memory and threads of the CPU or of a GPU, CUDA kernels, and cuML's k-means.

CuPy is imported in `gpu` alone, RAPIDS in `rapids` alone. Contains nothing of the method; may use
only `picket_gpu.errors`.
"""
