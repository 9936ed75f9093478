"""Documents of which a part is made by a program: what stands between two markers. Pure."""

END = "<!-- end -->"


def put(document: str, begin: str, made: str) -> str:
    """The document with what was made between `begin` and `END`. Raises ValueError where they are missing."""
    before, found, rest = document.partition(begin)
    _, end, after = rest.partition(END)
    if not found or not end:
        raise ValueError("the markers are missing")
    return f"{before}{begin}\n\n{made}\n\n{end}{after}"
