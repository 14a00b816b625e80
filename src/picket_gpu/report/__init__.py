"""The report of a run: pages and pictures to choose segmentations by."""
