"""A proxy for HTTP on loopback that can be switched off for some seconds: an outage of whatever is behind it.

A drill's job starts one beside its driver, whose requests to the tracking server go through it. Encrypted ones pass as
they are (CONNECT). Run as a program, it prints its port; SIGUSR1 is an outage of as many seconds as its argument says:
nothing listens and every open connection is cut. It ends with its standard input.
"""

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

LOOPBACK = "127.0.0.1"
HEAD_BYTES = 1 << 16
CONNECTION = re.compile(rb"(?i)(proxy-)?connection:|keep-alive:")
VARIABLES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")  # as Python's clients of HTTP read them
EXCEPTIONS = ("no_proxy", "NO_PROXY")


@contextmanager
def running(seconds: float) -> Iterator[dict[str, str]]:
    """A proxy with outages of so many seconds while the with block runs; the variables that lead clients to it."""
    command = [sys.executable, "-m", "rayox_cluster.outage_proxy", f"{seconds:g}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        port = int(program.stdout.readline())
        try:
            yield dict.fromkeys(VARIABLES, f"http://{LOOPBACK}:{port}") | dict.fromkeys(EXCEPTIONS, "")
        finally:
            program.kill()


class Proxy:
    """Listens on a port of loopback, which stays the same."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port, limit=HEAD_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def be_away(self, seconds: float) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await asyncio.sleep(seconds)
        await self.listen()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with suppress(OSError, EOFError, ValueError):
                await self._pass_on(reader, writer)
        finally:
            self._open.discard(writer)
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client's first words say where to; from then on bytes go both ways until one side ends.

        One request a connection, which both sides are told.
        """
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b" ", 2)
        tunnel = method == b"CONNECT"
        place = urlsplit(f"//{target.decode()}" if tunnel else target.decode())
        try:
            there, server = await asyncio.open_connection(place.hostname, place.port or (443 if tunnel else 80))
        except OSError:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        self._open.add(server)
        try:
            if tunnel:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                server.write(_to_server(head))
            both = [asyncio.create_task(_pump(reader, server)), asyncio.create_task(_answer(there, writer, tunnel))]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in both:
                task.cancel()
        finally:
            self._open.discard(server)
            server.close()


def _to_server(head: bytes) -> bytes:
    """A request's head as a server takes it: a path for the address, and one request a connection."""
    first, rest = head.split(b"\r\n", 1)
    method, target, version = first.split(b" ", 2)
    address = urlsplit(target)
    path = (address.path or b"/") + (b"?" + address.query if address.query else b"")
    return _closing(b" ".join((method, path, version)) + b"\r\n" + rest)


def _closing(head: bytes) -> bytes:
    """The head of a request or an answer that is the last of its connection."""
    lines = [line for line in head[:-4].split(b"\r\n") if not CONNECTION.match(line)]
    return b"\r\n".join([*lines, b"Connection: close", b"", b""])


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tunnel: bool) -> None:
    with suppress(OSError, EOFError):
        if not tunnel:
            writer.write(_closing(await reader.readuntil(b"\r\n\r\n")))
        await _pump(reader, writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while content := await reader.read(HEAD_BYTES):
            writer.write(content)
            await writer.drain()


async def main(seconds: float) -> None:
    proxy, outages = Proxy(), set[asyncio.Task[None]]()
    await proxy.listen()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: outages.add(asyncio.create_task(proxy.be_away(seconds))))
    print(proxy.port, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
