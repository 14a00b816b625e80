"""What a page of the report holds."""

import json
import re
from base64 import b64decode

import numpy as np


def data_of(page: str) -> dict:
    """What a page knows."""
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1]
    )


def candidates_of(picked: dict) -> np.ndarray:
    """(m, 4) float64: z, y, x, height of the candidates of a workflow in the data of a page."""
    return np.frombuffer(b64decode(picked["candidates"]), "<f8").reshape(-1, 4)
