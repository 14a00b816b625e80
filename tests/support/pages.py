"""What a page of the report holds."""

import json
import re


def data_of(page: str) -> dict:
    """What a page knows."""
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1]
    )
