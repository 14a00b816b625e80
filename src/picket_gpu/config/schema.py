"""JSON Schema of the parameter file, for editors: python -m picket_gpu.config.schema."""

import json
import sys

from picket_gpu.config.s1 import S1Config


def json_schema() -> str:
    """The schema as text, as it is in configs/s1.schema.json."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **S1Config.model_json_schema(),
    }
    return json.dumps(schema, indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(json_schema())
