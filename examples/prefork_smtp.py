"""Prefork workers that send mail over shared SMTP sessions: how long it takes with the cache, and without.

    scached --listen cache.sock --ttl-limit 1m &
    python examples/prefork_smtp.py cache.sock 127.0.0.1 25

Each worker is a process that serves jobs one at a time, and each job sends one mail. Without the cache, each job opens
a session, is greeted, says EHLO, sends and quits. With it, a job takes up a session that another worker has parked.
"""

import argparse
import smtplib
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue

from scache_client import Client
from scache_client.smtp import lease_smtp

TEXT = "From: from@example.org\nTo: to@example.org\nSubject: hello\n\nhello\n"
TIMEOUT_S = 60


def main() -> None:
    """Send the same mails twice, and print how long it took and how many sessions were opened."""
    parser = argparse.ArgumentParser(description="Send mail from prefork workers, with and without the cache.")
    parser.add_argument("cache", help="the socket of the connection cache")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--mails", type=int, default=400)
    options = parser.parse_args()
    client = Client(options.cache)  # after a fork, each worker has a connection of its own
    without_s, opened_without = measure(options.workers, options.mails, partial(send_alone, options.host, options.port))
    with_s, opened_with = measure(
        options.workers, options.mails, partial(send_shared, client, options.host, options.port)
    )
    for name, took_s, opened in (("without", without_s, opened_without), ("with", with_s, opened_with)):
        print(f"{name} the cache: {options.mails} mails, {options.mails / took_s:.0f} a second, {opened} handshakes")
    print(f"saved: {without_s - with_s:.2f} s and {opened_without - opened_with} handshakes")


def send_alone(host: str, port: int) -> int:
    """Send one mail over a session of its own; return the session's local port, which tells sessions apart."""
    with smtplib.SMTP(host, port, local_hostname="client.example", timeout=TIMEOUT_S) as smtp:
        return send(smtp)


def send_shared(client: Client, host: str, port: int) -> int:
    """Send one mail over a session of any worker; return the session's local port."""
    with lease_smtp(client, host, port, ttl_s=30, local_hostname="client.example", timeout_s=TIMEOUT_S) as smtp:
        return send(smtp)


def send(smtp: smtplib.SMTP) -> int:
    smtp.sendmail("from@example.org", ["to@example.org"], TEXT)
    assert smtp.sock is not None
    port: int = smtp.sock.getsockname()[1]
    return port


def measure(workers: int, mails: int, send_one: Callable[[], int]) -> tuple[float, int]:
    """Share the mails among forked workers; return the seconds it took and the number of sessions."""
    fork = get_context("fork")
    ports: SimpleQueue[list[int]] = fork.SimpleQueue()
    shares = [mails // workers + (number < mails % workers) for number in range(workers)]
    began_s = time.monotonic()
    processes = [fork.Process(target=work, args=(share, send_one, ports)) for share in shares]
    for process in processes:
        process.start()
    used = {port for _ in processes for port in ports.get()}
    for process in processes:
        process.join()
    return time.monotonic() - began_s, len(used)


def work(mails: int, send_one: Callable[[], int], ports: "SimpleQueue[list[int]]") -> None:
    """Be one worker."""
    ports.put([send_one() for _ in range(mails)])


if __name__ == "__main__":
    main()
