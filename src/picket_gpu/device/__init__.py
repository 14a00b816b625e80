"""Where arrays live: the CPU, a GPU, its kernels, and a library's k-means.

CuPy is imported in `gpu` alone, cuML in `cuml` alone. Knows nothing of the method; may use only
`picket_gpu.errors`.
"""
