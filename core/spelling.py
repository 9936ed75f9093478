"""What was meant by a word that is not known: for messages that offer the right one.

Pure, and it knows nothing of what the words name: settings, flags, worker classes and
the names in a module are all looked up the same way.
"""

from __future__ import annotations

from collections.abc import Iterable


def meant(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The closest of the known words, if one is close enough; `cutoff` is difflib's."""
    from difflib import get_close_matches  # only a mistake needs it: not in the memory of every server

    close = get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return close[0] if close else None
