"""Upload of a file of any size, straight to disk, in the memory of one block.

UPLOADS=/srv/incoming canter --chdir examples upload:app
curl --upload-file picture.jpg http://127.0.0.1:8000/

The answer is JSON: name, size and SHA-256 of what has arrived. A file appears
under its name only when it is complete; a client that vanishes leaves nothing.
"""

import hashlib
import json
import os
import re
import tempfile
from pathlib import Path

FOLDER = Path(os.environ.get("UPLOADS") or Path(tempfile.gettempdir(), "canter-uploads"))
BLOCK = 64 * 1024
NAME = re.compile(r"/(\w[\w.-]{0,99})", re.ASCII)

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Upload</title>
<p><input type="file" aria-label="File"> <output></output></p>
<script>
document.querySelector("input").onchange = async ({target: {files: [file]}}) => {
  const name = file.name.replace(/[^\\w.-]/g, "_").replace(/^\\W+/, "");
  const answer = await fetch(name, {method: "PUT", body: file});
  document.querySelector("output").textContent = await answer.text();
};
</script>
</html>
"""


def app(environ, start_response):
    method = environ["REQUEST_METHOD"]
    if method in ("GET", "HEAD"):
        return answer(start_response, "200 OK", PAGE, "text/html; charset=utf-8")
    if method != "PUT":
        return answer(start_response, "405 Method Not Allowed", "GET or PUT\n", allow="GET, HEAD, PUT")
    name = NAME.fullmatch(environ["PATH_INFO"])
    if not name:
        return answer(start_response, "400 Bad Request", "letters, digits and _ . - make a name\n")
    size, digest = store(environ["wsgi.input"], name[1])
    said = {"name": name[1], "size": size, "sha256": digest}
    return answer(start_response, "201 Created", json.dumps(said) + "\n", "application/json")


def store(body, name):
    """Write the request's body to a file; its size and digest."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    handle, path = tempfile.mkstemp(dir=FOLDER, prefix=".")
    try:
        with open(handle, "wb") as file:
            # Ends where the body ends; where the client leaves before that, the server raises OSError.
            while block := body.read(BLOCK):
                file.write(block)
                digest.update(block)
            size = file.tell()
        os.replace(path, FOLDER / name)
    except BaseException:
        os.unlink(path)
        raise
    return size, digest.hexdigest()


def answer(start_response, status, content, kind="text/plain; charset=utf-8", allow=None):
    body = content.encode()
    headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    start_response(status, [*headers, ("Allow", allow)] if allow else headers)
    return [body]
