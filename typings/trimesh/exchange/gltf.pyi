"""Nothing is known of it: types are checked alike where it is installed and where it is not."""

from typing import Any

def __getattr__(name: str) -> Any: ...
