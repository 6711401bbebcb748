"""A network between a browser and a gateway that dies as a Wi-Fi does: nothing is closed or refused, nothing gets through."""

from __future__ import annotations

import asyncio
import contextlib

from deploy.local.ports import free_ports

_CHUNK = 65536


class Wifi:
    """Forwards connections to a port of this machine. What was sent while it was dead arrives once it is back, as in TCP."""

    def __init__(self, gateway_port: int) -> None:
        self._gateway_port = gateway_port
        (self.port,) = free_ports(1)
        self.url = f"http://localhost:{self.port}"
        self._alive = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to forward."""
        self._alive.set()
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    async def die(self) -> None:
        """Let no byte through any more."""
        self._alive.clear()

    async def come_back(self) -> None:
        """Forward again, first what waited."""
        self._alive.set()

    async def end(self) -> None:
        """Cut all connections and take no more."""
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._alive.wait()
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._gateway_port)
            with contextlib.closing(there_writer):
                await asyncio.gather(self._forward(reader, there_writer), self._forward(there_reader, writer))
        except OSError:
            pass  # an end went away: so does the connection
        finally:
            writer.close()
            self._connections.discard(task)

    async def _forward(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while chunk := await source.read(_CHUNK):
            await self._alive.wait()
            sink.write(chunk)
            await sink.drain()
        await self._alive.wait()
        sink.close()
