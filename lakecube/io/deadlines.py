"""Connections whose answers begin in time: a server that drips its headers is hung up on.

The timeouts of sockets run anew with every byte; only a clock beside the socket ends what never pauses.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

#: Of the time that may pass between two bytes: how long all the headers may take.
_TIMES = 2.0


class _InTime:
    """Of a connection: its answer's headers are whole within twice the time that it may be silent."""

    timeout: Any
    sock: Any

    def getresponse(self) -> Any:
        """Return the answer, its body not yet read."""
        if not isinstance(self.timeout, int | float):
            return super().getresponse()  # type: ignore[misc]
        late = threading.Event()
        clock = threading.Timer(_TIMES * self.timeout, _hang_up, [self.sock, late])
        clock.daemon = True
        clock.start()
        try:
            answer = super().getresponse()  # type: ignore[misc]
        finally:
            clock.cancel()
        if late.is_set():  # headers that were cut off pass for whole ones
            answer.close()
            raise TimeoutError("the headers of the answer did not end")
        return answer


def _hang_up(sock: Any, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


class _Http(_InTime, HTTPConnection):
    pass


class _Https(_InTime, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


_POOLS = {"http": _HttpPool, "https": _HttpsPool}


class InTimeAdapter(HTTPAdapter):
    """For `requests.Session.mount`: connections that hang up on a server whose headers never end."""

    def init_poolmanager(self, *sizes: Any, **options: Any) -> None:
        """Make the pools of connections."""
        super().init_poolmanager(*sizes, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *proxy: Any, **options: Any) -> Any:
        """Return the pools of connections through a proxy."""
        manager = super().proxy_manager_for(*proxy, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager
