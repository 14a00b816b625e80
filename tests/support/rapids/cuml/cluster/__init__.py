class KMeans:
    """Only imported."""
