"""Both clients behind one face, and with a sense for the moment when a peer has stalled.

`give_up_when_stalled` replaces the passing of time: a wait ends "too late" as
soon as the peer has said that nothing more will come, so a timeout at any step is exact and takes no time.
"""

import asyncio
import socket
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Self, TypeVar

from tests.support.client import PATIENCE_S
from tests.support.scripted import Scripted

from scache_client import AsyncClient, Client, Found, FoundDest
from scache_client.connection import Wait

T = TypeVar("T")


class Shell(ABC):
    """The verbs of either client, blocking."""

    client: Client | AsyncClient
    give_up_when_stalled = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def run(self, answer: T | Coroutine[object, object, T]) -> T:
        """Return what a verb of the client gives."""

    def save_endp(self, endpoint: bytes, properties: bytes, ttl_s: int, connection: socket.socket | int) -> None:
        self.run(self.client.save_endp(endpoint, properties, ttl_s, connection))

    def find_endp(self, endpoint: bytes) -> Found | None:
        return self.run(self.client.find_endp(endpoint))

    def save_dest(self, destination: bytes, properties: bytes, endpoint: bytes, ttl_s: int) -> None:
        self.run(self.client.save_dest(destination, properties, endpoint, ttl_s))

    def find_dest(self, destination: bytes) -> FoundDest | None:
        return self.run(self.client.find_dest(destination))

    def close(self) -> None:
        self.run(self.client.close())

    @property
    def connected(self) -> bool:
        return self.client._connection.fileno() >= 0


class Blocking(Shell):
    """Client."""

    def __init__(self, peer: Scripted) -> None:
        shell = self

        class Sensing(Client):
            def _wait(self, wait: Wait, deadline: float) -> bool:
                if shell.give_up_when_stalled and wait is Wait.READABLE:
                    while not super()._wait(wait, deadline=0.0):
                        if peer.stalled.wait(0.001):
                            return super()._wait(wait, deadline=0.0)
                    return True
                return super()._wait(wait, deadline)

        self.client = Sensing(peer.path, timeout_s=PATIENCE_S)

    def run(self, answer: T | Coroutine[object, object, T]) -> T:
        assert not isinstance(answer, Coroutine)
        return answer


class Asyncio(Shell):
    """AsyncClient, each verb run to its end in one loop."""

    def __init__(self, peer: Scripted) -> None:
        shell = self

        class Sensing(AsyncClient):
            async def _wait(self, wait: Wait, deadline: float) -> bool:
                if shell.give_up_when_stalled and wait is Wait.READABLE:
                    loop = asyncio.get_running_loop()
                    while not await super()._wait(wait, loop.time() + 0.001):
                        if peer.stalled.is_set():
                            return await super()._wait(wait, loop.time() + 0.001)
                    return True
                return await super()._wait(wait, deadline)

        self._runner = asyncio.Runner()
        self.client = Sensing(peer.path, timeout_s=PATIENCE_S)

    def run(self, answer: T | Coroutine[object, object, T]) -> T:
        assert isinstance(answer, Coroutine)
        given: T = self._runner.run(answer)
        return given

    def __exit__(self, *_: object) -> None:
        self.close()
        self._runner.close()


SHELLS = (Blocking, Asyncio)
