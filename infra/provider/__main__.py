"""`python -m infra.provider [ENGINE_ADDRESS]`: the process that the engine starts as `pulumi-resource-kubernetes`.

The port is the first line on stdout. It leaves quietly on an interrupt, and within a second when the engine dies.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from infra.provider.server import Provider

_LARGEST: Final = 400 * 1024 * 1024
_WORKERS: Final = 32


def main(arguments: list[str]) -> int:
    """Serve until told to stop."""
    addresses = [argument for argument in arguments if not argument.startswith("-")]
    engine = addresses[-1] if addresses else ""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    server = grpc.server(
        ThreadPoolExecutor(_WORKERS),
        options=[("grpc.max_receive_message_length", _LARGEST), ("grpc.max_send_message_length", _LARGEST)],
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(engine), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    parent = os.getppid()
    while not stop.wait(1.0):
        if engine and os.getppid() != parent:
            break
    server.stop(grace=0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
