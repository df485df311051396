"""Our clients, driven by the scripts of `scache-conformance client`: blocking|asyncio SOCKET SCRIPT TIMEOUT_S."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import TypeVar

from scache_client.aio import AsyncClient
from scache_client.client import Client
from scache_client.errors import CacheError
from scache_client.found import Found, FoundDest


def steps(path: str) -> Iterator[tuple[str, list[str]]]:
    for line in Path(path).read_text(encoding="ascii").splitlines():
        verb, *words = line.split(" ")
        yield verb, words


def say(word: str) -> None:
    print(word, flush=True)


def use(found: Found | FoundDest | None) -> str:
    if found is None:
        return "nothing"
    with found, found.socket() as connection:
        connection.sendall(b"!")
    return "found"


@contextlib.contextmanager
def told() -> Iterator[None]:
    try:
        yield
    except (CacheError, OSError):
        say("failed")


def connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


T = TypeVar("T")


async def result(answer: T | Coroutine[object, object, T]) -> T:
    """Return what a verb of either client gives."""
    return await answer if asyncio.iscoroutine(answer) else answer


async def play(client: Client | AsyncClient, script: str) -> None:
    """Do what the script says."""
    for verb, words in steps(script):
        with told():
            match verb, words:
                case "pause", []:
                    say("paused")
                    sys.stdin.readline()
                case "close", []:
                    await result(client.close())
                    say("closed")
                case "save_endp", [endpoint, properties, ttl_s, peer]:
                    with connect(peer) as parked:
                        await result(client.save_endp(endpoint.encode(), properties.encode(), int(ttl_s), parked))
                    say("saved")
                case "save_dest", [destination, properties, endpoint, ttl_s]:
                    await result(
                        client.save_dest(destination.encode(), properties.encode(), endpoint.encode(), int(ttl_s))
                    )
                    say("saved")
                case "find_endp", [endpoint]:
                    say(use(await result(client.find_endp(endpoint.encode()))))
                case "find_dest", [destination]:
                    say(use(await result(client.find_dest(destination.encode()))))
                case _:
                    raise ValueError(verb)


if __name__ == "__main__":
    kind, socket_path, script_path, seconds = sys.argv[1:]
    made = AsyncClient if kind == "asyncio" else Client
    asyncio.run(play(made(socket_path, timeout_s=float(seconds)), script_path))
