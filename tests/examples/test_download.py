"""download: whole files, parts of them, and what was not modified."""

from __future__ import annotations

import os

import pytest

SIZE = 3_000_000  # many sends, and no multiple of a block


@pytest.fixture(scope="module")
def content() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture(scope="module")
def files(visit, content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("downloads")
    (folder / "data.bin").write_bytes(content)
    (folder / "empty.txt").write_bytes(b"")
    (folder / "a & ü.txt").write_text("named oddly")
    (folder.parent / "secret").write_text("not for download")
    with visit("download:app", env={"DOWNLOADS": str(folder)}) as client:
        yield client


def test_list(files) -> None:
    page = files.get("/").text
    assert '<a href="data.bin">data.bin</a>' in page
    assert '<a href="a%20%26%20%C3%BC.txt">a &amp; ü.txt</a>' in page
    assert files.get("/a%20%26%20%C3%BC.txt").text == "named oddly"


def test_whole(files, content) -> None:
    answer = files.get("/data.bin")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.content == content


def test_empty(files) -> None:
    answer = files.get("/empty.txt")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "0"


def test_head(files) -> None:
    answer = files.head("/data.bin")
    assert answer.status_code == 200
    assert answer.headers["content-length"] == str(SIZE)
    assert answer.content == b""


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("0-0", 0, 1),
        ("0-", 0, SIZE),
        ("1000000-1999999", 1_000_000, 2_000_000),
        ("2999990-", SIZE - 10, SIZE),
        ("2999990-9999999", SIZE - 10, SIZE),
        ("-7", SIZE - 7, SIZE),
        ("-9999999", 0, SIZE),
    ],
)
def test_part(files, content, asked: str, first: int, end: int) -> None:
    answer = files.get("/data.bin", headers={"Range": f"bytes={asked}"})
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {first}-{end - 1}/{SIZE}"
    assert answer.content == content[first:end]


@pytest.mark.parametrize("asked", ["3000000-", "5-4", "-0"])
def test_part_that_is_not_there(files, asked: str) -> None:
    answer = files.get("/data.bin", headers={"Range": f"bytes={asked}"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize("asked", ["bytes=-", "bytes=0-1,5-6", "lines=1-2", "bytes=a-b"])
def test_range_of_another_form_is_ignored(files, asked: str) -> None:
    assert files.get("/data.bin", headers={"Range": asked}).status_code == 200


def test_not_modified(files) -> None:
    tag = files.head("/data.bin").headers["etag"]
    answer = files.get("/data.bin", headers={"If-None-Match": tag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_part_of_another_version(files) -> None:
    tag = files.head("/data.bin").headers["etag"]
    headers = {"Range": "bytes=0-9", "If-Range": tag}
    assert files.get("/data.bin", headers=headers).status_code == 206
    assert files.get("/data.bin", headers=headers | {"If-Range": '"old"'}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/nothing", "/..%2fsecret", "/%2e%2e/secret", "/%2e", "/%2e%2e", "//etc/passwd"]
)
def test_no_way_out_of_the_folder(files, path: str) -> None:
    answer = files.get(path)
    assert "not for download" not in answer.text
    assert answer.status_code == 404


def test_only_reading(files) -> None:
    answer = files.put("/data.bin", content=b"x")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
