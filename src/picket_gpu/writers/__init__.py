"""Writers of segmentations, one for each kind of file. What has its final name is whole."""
