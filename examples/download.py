"""Files for download: `wsgi.file_wrapper`, ranges, and "not modified".

DOWNLOADS=/srv/files canter --chdir examples download:app

The server sends an open file by itself (with sendfile where the system has it);
which part of it is asked for is the application's business, and so is this one's.
Without DOWNLOADS it shows the sources of these examples.
"""

import os
import re
from html import escape
from mimetypes import guess_type
from pathlib import Path
from urllib.parse import quote

FOLDER = Path(os.environ.get("DOWNLOADS") or Path(__file__).parent)
BLOCK = 64 * 1024

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Files</title>
<ul>
{links}</ul>
</html>
"""


def app(environ, start_response):
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return text(start_response, "405 Method Not Allowed", "GET or HEAD\n", [("Allow", "GET, HEAD")])
    name = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace").lstrip("/")
    names = sorted(path.name for path in FOLDER.iterdir() if path.is_file())
    if not name:
        links = "".join(f'<li><a href="{quote(name)}">{escape(name)}</a>\n' for name in names)
        return text(start_response, "200 OK", PAGE.format(links=links), kind="text/html")
    if name not in names:  # only what the list shows: no path leads out of the folder
        return text(start_response, "404 Not Found", "There is no such file.\n")
    return send(environ, start_response, FOLDER / name)


def send(environ, start_response, path):
    """The file, or the part of it that the client asks for."""
    file = path.open("rb")
    status = os.fstat(file.fileno())
    size = status.st_size
    tag = f'"{status.st_mtime_ns:x}-{size:x}"'
    headers = [("ETag", tag), ("Accept-Ranges", "bytes")]
    if environ.get("HTTP_IF_NONE_MATCH") == tag:
        file.close()
        start_response("304 Not Modified", headers)
        return []

    asked = part(environ.get("HTTP_RANGE", ""), size)
    if environ.get("HTTP_IF_RANGE", tag) != tag:
        asked = None  # what the client has is a part of another version
    first, end = asked or (0, size)
    if asked and first >= end:
        file.close()
        return text(start_response, "416 Range Not Satisfiable", "", [("Content-Range", f"bytes */{size}")])
    headers += [
        ("Content-Type", guess_type(path.name)[0] or "application/octet-stream"),
        ("Content-Length", str(end - first)),
    ]
    if asked:
        headers.append(("Content-Range", f"bytes {first}-{end - 1}/{size}"))
    start_response("206 Partial Content" if asked else "200 OK", headers)
    file.seek(first)
    return environ["wsgi.file_wrapper"](file if end == size else Part(file, end - first), BLOCK)


def part(asked, size):
    """(first octet, the one after the last) of a Range header; None where it is none of this form."""
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", asked)
    if not found or asked == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        return max(size - int(last), 0), size
    return int(first), min(int(last) + 1, size) if last else size


class Part:
    """The next `left` octets of an open file, as a file."""

    def __init__(self, file, left):
        self.file, self.left = file, left
        self.close = file.close

    def read(self, size):
        data = self.file.read(min(size, self.left))
        self.left -= len(data)
        return data


def text(start_response, status, content, headers=(), kind="text/plain"):
    body = content.encode()
    start_response(
        status, [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(body))), *headers]
    )
    return [body]
