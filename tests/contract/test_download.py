"""Downloads are complete and verified, or absent; tested against a server on this machine."""

import gzip
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from neurosparse.errors import InputError
from neurosparse.io.download import fetch
from neurosparse.io.manifest import DataFile, Manifest

CONTENT = bytes(range(256)) * 400
GZIPPED = gzip.compress(CONTENT, mtime=0)


class Server(BaseHTTPRequestHandler):
    """Serves ``/name`` from a table of (stated length, body) and records the requests."""

    table: dict[str, tuple[int, bytes]]
    requests: list[str]

    def do_GET(self):
        self.requests.append(self.path)
        if self.path not in self.table:
            self.send_error(404)
            return
        stated, body = self.table[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(stated))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    handler = type("Handler", (Server,), {"table": {}, "requests": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        handler.url = f"http://127.0.0.1:{running.server_port}"
        yield handler
        running.shutdown()
        thread.join()


def _manifest(server, name="data.gz", content=CONTENT) -> Manifest:
    file = DataFile(name, f"{server.url}/{name}", hashlib.sha256(content).hexdigest(), len(content))
    return Manifest("toy", "Toy", "CC0", "none", files=(file,))


@pytest.mark.parametrize(("name", "body"), [("data.gz", GZIPPED), ("data", CONTENT)])
def test_a_valid_file_is_downloaded_once(server, tmp_path, name, body):
    server.table[f"/{name}"] = (len(body), body)
    for _ in range(2):
        assert fetch(_manifest(server, name), tmp_path / "new")[name].read_bytes() == body
    assert len(server.requests) == 1, "a valid file is not fetched again"
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_a_damaged_copy_is_replaced(server, tmp_path):
    server.table["/data.gz"] = (len(GZIPPED), GZIPPED)
    (tmp_path / "data.gz").write_bytes(GZIPPED[:100])
    assert fetch(_manifest(server), tmp_path)["data.gz"].read_bytes() == GZIPPED


@pytest.mark.parametrize(
    ("stated", "body"),
    [
        pytest.param(len(GZIPPED), GZIPPED[: len(GZIPPED) // 2], id="truncated"),
        pytest.param(len(GZIPPED) // 2, GZIPPED[: len(GZIPPED) // 2], id="short"),
        pytest.param(len(CONTENT), CONTENT, id="not gzip"),
        pytest.param(len(gzip.compress(CONTENT[::-1])), gzip.compress(CONTENT[::-1]), id="wrong checksum"),
        pytest.param(0, b"", id="empty"),
    ],
)
def test_an_invalid_download_is_deleted(server, tmp_path, stated, body):
    server.table["/data.gz"] = (stated, body)
    with pytest.raises(InputError, match="fetch: got other content"):
        fetch(_manifest(server), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_invalid_download_keeps_the_old_copy(server, tmp_path):
    (tmp_path / "data.gz").write_bytes(b"older release")
    server.table["/data.gz"] = (3, b"bad")
    with pytest.raises(InputError, match="sha256"):
        fetch(_manifest(server), tmp_path)
    assert (tmp_path / "data.gz").read_bytes() == b"older release"


def test_network_errors_are_one_sentence(server, tmp_path):
    with pytest.raises(InputError, match=r"HTTP Error 404.*Check the network"):
        fetch(_manifest(server), tmp_path)
    file = DataFile("data", "http://127.0.0.1:1/data", "", 0)
    with pytest.raises(InputError, match=r"refused.*Check the network"):
        fetch(Manifest("toy", "Toy", "CC0", "none", files=(file,)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_default_folder_is_the_users(server, tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROSPARSE_DATA", str(tmp_path))
    server.table["/data.gz"] = (len(GZIPPED), GZIPPED)
    assert fetch(_manifest(server)) == {"data.gz": tmp_path / "toy" / "data.gz"}
