"""What runs models needs torch and transformers; without them its tests are not collected."""

import importlib.util
from pathlib import Path

LIGHT = ("calibration", "prompts", "repetition")

collect_ignore = []
if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
    collect_ignore = [
        path.name
        for path in Path(__file__).parent.glob("test_*.py")
        if path.stem.removeprefix("test_") not in LIGHT
    ]
