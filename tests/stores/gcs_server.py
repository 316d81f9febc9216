"""Google's storage protocol on 127.0.0.1, as gcp-storage-emulator speaks it; prints its port."""

from __future__ import annotations

import threading
from http import HTTPStatus
from typing import Any

from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import objects
from gcp_storage_emulator.server import create_server
from gcp_storage_emulator.storage import Storage

_upload = objects._media_upload


def _upload_where_asked(request: Any, response: Any, storage: Any) -> None:
    """Heed ifGenerationMatch, which the emulator doesn't know."""
    asked = request.query.get("ifGenerationMatch", [None])[0]
    try:
        held = storage.get_file_obj(request.params["bucket_name"], request.query["name"][0])
    except NotFound:
        held = {"generation": "0"}
    if asked not in (None, held["generation"]):
        response.status = HTTPStatus.PRECONDITION_FAILED
        return
    _upload(request, response, storage)


_create = Storage.create_file


def _create_and_note(
    self: Storage, bucket: str, name: str, content: bytes, about: Any, file_id: Any = None
) -> None:
    """Leave names in a bucket, where tests find what has ever been there."""
    _create(self, bucket, name, content, about, file_id)
    self.buckets.setdefault("uploaded", {"name": "uploaded"})
    _create(self, "uploaded", name, b"", {**about, "bucket": "uploaded", "size": "0"})


def main() -> None:
    objects._media_upload = _upload_where_asked
    Storage.create_file = _create_and_note
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket")
    server.start()
    print(server._api._httpd.server_port, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
