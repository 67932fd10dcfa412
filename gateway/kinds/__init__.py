"""Which kind of task a prompt is, told by its words in some 100 microseconds: code, maths, translation and so on.

The kinds, and the weights that tell them apart, come with a trained file; the one that ships is SHIPPED. A caller's
own tag or route knows better than any classifier, and is asked first.
"""

from __future__ import annotations

from pathlib import Path

from .messages import last_user_text
from .reader import KindFile, KindFileError, KindReader, Kinds

SHIPPED = Path(__file__).with_name("kinds.v1.bin")

__all__ = ["SHIPPED", "KindFile", "KindFileError", "KindReader", "Kinds", "last_user_text"]
