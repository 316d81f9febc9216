"""Google's storage protocol on 127.0.0.1, as gcp-storage-emulator speaks it; prints its port."""

from __future__ import annotations

import threading

from gcp_storage_emulator.server import create_server


def main() -> None:
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket")
    server.start()
    print(server._api._httpd.server_port, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
