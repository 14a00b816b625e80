"""Writers, one for each kind of file; `picket_gpu.files.write_segmentation` calls them."""
