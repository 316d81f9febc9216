"""An S3 server on 127.0.0.1: moto's, with every request noted, and a bucket that nobody may use.

``python -m tests.stores.server`` prints its port. ``GET /-/requests`` gives the notes, one a line:
method, path with query, and range; ``GET /-/forget`` drops them. ``GET /-/fill/BUCKET/COUNT`` puts
so many small objects below ``in/`` of a bucket, in seven folders.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

FORBIDDEN = (
    b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
)


class Noting:
    """A WSGI application around moto's."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app
        self._notes: list[str] = []
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/-/requests":
            start("200 OK", [])
            return ["\n".join(self._notes).encode()]
        if path == "/-/forget":
            self._notes.clear()
            start("200 OK", [])
            return [b""]
        if path.startswith("/-/fill/"):
            _fill(*path.split("/")[3:])
            start("200 OK", [])
            return [b""]
        query = environ.get("QUERY_STRING", "")
        with self._lock:
            self._notes.append(
                f"{environ['REQUEST_METHOD']} {path}{'?' * bool(query)}{query} "
                f"{environ.get('HTTP_RANGE', '')}"
            )
        if path.startswith("/forbidden"):
            size = str(len(FORBIDDEN))
            start("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", size)])
            return [FORBIDDEN] if environ["REQUEST_METHOD"] != "HEAD" else []
        return self._app(environ, start)


def _fill(bucket: str, count: str) -> None:
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for i in range(int(count)):
        backend.put_object(bucket, f"in/{i % 7}/{i:05}.txt", b"x\n")


class Quiet(WSGIRequestHandler):
    """Logs nothing, and keeps connections."""

    protocol_version = "HTTP/1.1"

    def log(self, *args: Any) -> None:
        pass


def main() -> None:
    app = Noting(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
