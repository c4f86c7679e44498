import hashlib
import io
import re
import stat
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from genrec.config.errors import DataError
from genrec.data import download, load
from genrec.data.download import KNOWN, KnownDataset, fetch, unpack

RATINGS = b"userId,movieId,rating,timestamp\n" + b"".join(
    b"1,%d,3.0,%d\n" % (n, n) for n in range(1, 2000)
)


def archive(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return buffer.getvalue()


SOUND = archive(**{"ml-latest-small/ratings.csv": RATINGS, "ml-latest-small/README.txt": b"read"})


class Server(ThreadingHTTPServer):
    """Serves one archive, at most ``breaks_after`` bytes of it, and ranges only if ``ranges``."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.breaks_after, self.ranges, self.log = SOUND, None, True, []

    @property
    def base_url(self):
        return f"http://127.0.0.1:{self.server_port}/data/"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.log.append((self.path, wanted))
        start = int(re.match(r"bytes=(\d+)-", wanted)[1]) if wanted and server.ranges else 0
        if start and start >= len(server.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.content)}")
            self.end_headers()
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header(
                "Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}"
            )
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.breaks_after])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def checksum(monkeypatch, content):
    monkeypatch.setitem(KNOWN, "ml-1m", KnownDataset("", hashlib.sha256(content).hexdigest()))


def test_fetch_unpacks_without_the_top_folder_and_once(server, tmp_path):
    folder = fetch("ml-latest-small", tmp_path, base_url=server.base_url)
    assert folder == tmp_path / "ml-latest-small"
    assert (folder / "ratings.csv").read_bytes() == RATINGS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ml-latest-small"]
    assert fetch("ml-latest-small", tmp_path, base_url=server.base_url) == folder
    assert server.log == [("/data/ml-latest-small.zip", None)]


def test_load_by_name_reads_from_the_cache(server, tmp_path, monkeypatch):
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path))
    fetch("ml-latest-small", base_url=server.base_url)
    dataset = load("ml-latest-small").dataset
    assert (dataset.name, dataset.catalogue.num_items) == ("ml-latest-small", 1999)


def test_an_interrupted_download_resumes(server, tmp_path, monkeypatch):
    checksum(monkeypatch, SOUND)
    server.breaks_after = 1000
    with pytest.raises(
        ConnectionError,
        match=rf"the connection ended after 1000 of {len(SOUND)} bytes.*run the same",
    ):
        fetch("ml-1m", tmp_path, base_url=server.base_url)
    assert (tmp_path / "ml-1m.zip.part").read_bytes() == SOUND[:1000]
    server.breaks_after = None
    assert (
        fetch("ml-1m", tmp_path, base_url=server.base_url) / "ratings.csv"
    ).read_bytes() == RATINGS
    assert server.log[-1] == ("/data/ml-1m.zip", "bytes=1000-")


def test_a_server_without_ranges_sends_everything_again(server, tmp_path, monkeypatch):
    checksum(monkeypatch, SOUND)
    server.ranges = False
    (tmp_path / "ml-1m.zip.part").write_bytes(SOUND[:1000])
    assert (
        fetch("ml-1m", tmp_path, base_url=server.base_url) / "ratings.csv"
    ).read_bytes() == RATINGS
    assert server.log == [("/data/ml-1m.zip", "bytes=1000-")]


def test_a_complete_part_is_used(server, tmp_path, monkeypatch):
    checksum(monkeypatch, SOUND)
    (tmp_path / "ml-1m.zip.part").write_bytes(SOUND)
    assert (fetch("ml-1m", tmp_path, base_url=server.base_url) / "ratings.csv").exists()


def test_a_part_longer_than_the_file_is_downloaded_again(server, tmp_path, monkeypatch):
    checksum(monkeypatch, SOUND)
    (tmp_path / "ml-1m.zip.part").write_bytes(SOUND + b"more")
    assert (fetch("ml-1m", tmp_path, base_url=server.base_url) / "ratings.csv").exists()
    assert [wanted for _, wanted in server.log] == [f"bytes={len(SOUND) + 4}-", None]


def test_a_wrong_checksum_is_never_used(server, tmp_path):
    found, expected = hashlib.sha256(SOUND).hexdigest(), KNOWN["ml-1m"].sha256
    with pytest.raises(
        DataError, match=f"has the SHA-256 {found}, expected was {expected}; it was deleted"
    ):
        fetch("ml-1m", tmp_path, base_url=server.base_url)
    assert list(tmp_path.iterdir()) == []


def test_without_a_checksum_a_broken_archive_is_found(server, tmp_path):
    server.content = SOUND.replace(b"1,55,3.0", b"1,55,4.0")
    with pytest.raises(DataError, match="is not a sound zip file"):
        fetch("ml-latest-small", tmp_path, base_url=server.base_url)
    server.content = b"<html>sorry</html>"
    with pytest.raises(DataError, match="is not a sound zip file"):
        fetch("ml-latest-small", tmp_path, base_url=server.base_url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../evil.txt", "/evil.txt", "ml/../../evil.txt", "..\\evil.txt", "C:evil.txt"]
)
def test_archives_cannot_write_outside(tmp_path, name):
    (tmp_path / "a.zip").write_bytes(archive(**{"ml/good.txt": b"", name: b"evil"}))
    with pytest.raises(DataError, match="leads out of the folder"):
        unpack(tmp_path / "a.zip", tmp_path / "in" / "ml")
    assert [path.name for path in tmp_path.rglob("*")] == ["a.zip"]


def test_archives_with_links_or_too_many_bytes_are_refused(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(link, "/etc")
    with pytest.raises(DataError, match="'link' is a link"):
        unpack(tmp_path / "a.zip", tmp_path / "ml")
    monkeypatch.setattr(download, "MAX_UNPACKED", 100)
    (tmp_path / "b.zip").write_bytes(archive(big=b"0" * 101))
    with pytest.raises(DataError, match=r"1 file\(s\) of 101 bytes"):
        unpack(tmp_path / "b.zip", tmp_path / "ml")
    (tmp_path / "c.zip").write_bytes(archive())
    with pytest.raises(DataError, match=r"0 file\(s\)"):
        unpack(tmp_path / "c.zip", tmp_path / "ml")


def test_two_top_folders_are_kept(tmp_path):
    (tmp_path / "a.zip").write_bytes(archive(**{"x/a.txt": b"1", "y/b.txt": b"2"}))
    unpack(tmp_path / "a.zip", tmp_path / "ml")
    assert (tmp_path / "ml" / "x" / "a.txt").read_bytes() == b"1"
    assert (tmp_path / "ml" / "y" / "b.txt").read_bytes() == b"2"


def test_a_server_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(
        ConnectionError, match=r"could not download http://127\.0\.0\.1:9/ml-1m\.zip"
    ):
        fetch("ml-1m", tmp_path, base_url="http://127.0.0.1:9")


def test_only_known_names_and_only_http(tmp_path):
    with pytest.raises(DataError, match="no dataset 'ml-2m' is known; known are ml-100k, ml-1m"):
        fetch("ml-2m", tmp_path)
    with pytest.raises(DataError, match="must start with http"):
        fetch("ml-1m", tmp_path, base_url="file:///tmp")
