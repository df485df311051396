"""Attribute lists that a good client does not send, and what comes back: a table, the same for every server.

Decides the inputs while a request is awaited, and their replies. What goes wrong in the two dances around a
descriptor is in broken_dances.
"""

from collections.abc import Iterator
from typing import Final

from tests.postfix.cases import (
    DESTINATION,
    ENDPOINT,
    PROPERTIES,
    PURGES,
    SMUGGLED,
    STOPS_EARLY,
    WRAPS,
    Case,
    Closed,
    Expect,
    Held,
    Leave,
    Send,
    Silence,
    Steps,
    Take,
)
from tests.postfix.peer import (
    DONE,
    DUMMY,
    MALFORMED,
    attributes,
    find_dest,
    find_endp,
    found,
    missed,
    request,
    save_dest,
    save_endp,
)


def with_ttl(name: bytes, ttl: bytes) -> bytes:
    """Encode a save whose ttl is these bytes."""
    label = ENDPOINT if name == b"save_endp" else DESTINATION
    rest = ((b"label", label), (b"property", PROPERTIES), (b"label", ENDPOINT))
    return request(name, (b"ttl", ttl), *rest[: 2 if name == b"save_endp" else 3])


TTL_ACCEPTED: Final = (
    b"5", b" 5", b"\t\n\v\f\r 5", b"+5", b" +5", b"010", b"00000000000000000000000005", b"2147483647",
    b"0" * 5000 + b"5",
)  # fmt: skip
TTL_REFUSED: Final = (
    b"", b" ", b"+", b"-", b"0", b"00", b"+0", b"-0", b"-1", b"-5", b"abc", b"5x", b"5 ", b"5\n", b"0x10", b"5.0",
    b"1e3", b"5,0", b"1_0", b"++5", b"+-5", b"-+5", b"+ 5", b"\xa05", b"\xd9\xa5", b"\xef\xbc\x95", b"\xb2",
    b"2147483648", b"4294967295", b"4294967296", b"9223372036854775807", b"9223372036854775808",
    b"18446744073709551615", b"18446744073709551617", b"99999999999999999999", b"9" * 5000, b"-2147483648",
)  # fmt: skip
TTL_WRAPPED: Final = (b"4294967297", b"8589934597", b"-4294967291", b"-2147483649", b"6442450943")


def ttl_cases() -> Iterator[Case]:
    """Yield the forms of a ttl, in both requests that have one."""
    accepted_endp: Steps = (Expect(DUMMY), Send(b"\0", 1), Expect(DONE), Held(1))
    for ttl in (*TTL_ACCEPTED, *TTL_REFUSED, *TTL_WRAPPED):
        endp, dest = Send(with_ttl(b"save_endp", ttl)), Send(with_ttl(b"save_dest", ttl))
        name = repr(ttl)[1:] if len(ttl) < 40 else f"{ttl[:1]!r} {len(ttl)} bytes long"
        if ttl in TTL_ACCEPTED:
            yield Case(f"ttl {name} in save_endp", "WIRE-8", (endp, *accepted_endp))
            yield Case(f"ttl {name} in save_dest", "WIRE-8", (dest, Expect(DONE)))
            continue
        refused_endp, refused_dest = (endp, Expect(MALFORMED), Silence(), Held(0)), (dest, Expect(MALFORMED), Silence())
        if ttl in TTL_REFUSED:
            yield Case(f"ttl {name} in save_endp", "WIRE-8 WIRE-9", refused_endp)
            yield Case(f"ttl {name} in save_dest", "WIRE-8 WIRE-9", refused_dest)
        else:
            yield Case(f"ttl {name} in save_endp", "WIRE-10", refused_endp, (endp, *accepted_endp), WRAPS)
            yield Case(f"ttl {name} in save_dest", "WIRE-10", refused_dest, (dest, Expect(DONE)), WRAPS)


def matching_cases() -> Iterator[Case]:
    """Yield every wanted attribute missing, renamed, exchanged with its neighbour and doubled, and extra ones."""
    wanted = {
        b"save_endp": ((b"ttl", b"5"), (b"label", ENDPOINT), (b"property", PROPERTIES)),
        b"find_endp": ((b"label", b"nothing there"),),
        b"save_dest": ((b"ttl", b"5"), (b"label", DESTINATION), (b"property", PROPERTIES), (b"label", ENDPOINT)),
        b"find_dest": ((b"label", b"nothing there"),),
    }
    done: dict[bytes, Steps] = {
        b"save_endp": (Expect(DUMMY), Send(b"\0", 1), Expect(DONE), Held(1)),
        b"find_endp": (Expect(missed(1)),),
        b"save_dest": (Expect(DONE),),
        b"find_dest": (Expect(missed(2)),),
    }
    refusal = {
        b"save_endp": MALFORMED,
        b"find_endp": attributes((b"status", b"1"), (b"property", b"")),
        b"save_dest": MALFORMED,
        b"find_dest": attributes((b"status", b"1"), (b"property", b""), (b"property", b"")),
    }
    extra = (b"extra", b"value")
    for name, pairs in wanted.items():
        refused: Steps = (Expect(refusal[name]), Silence(), Held(0))
        says = name.decode()
        yield Case(f"{says} alone", "CONN-7", (Send(request(name)), *refused))
        for at, pair in enumerate(pairs):
            before, after = pairs[:at], pairs[at + 1 :]
            lists = {
                f"without attribute {at}": (*before, *after),
                f"attribute {at} in capitals": (*before, (pair[0].upper(), pair[1]), *after),
                f"attribute {at} with a longer name": (*before, (pair[0] + b"s", pair[1]), *after),
                f"attribute {at} with a shorter name": (*before, (pair[0][:-1], pair[1]), *after),
                f"an extra one before attribute {at}": (*before, extra, *pairs[at:]),
            }
            if after:
                lists[f"attributes {at} and {at + 1} exchanged"] = (*before, after[0], pair, *after[1:])
            if pair[0] != b"label" or not after:
                lists[f"request repeated before attribute {at}"] = (*before, (b"request", name), *pairs[at:])
            if after:
                lists[f"attribute {at} twice"] = (*before, pair, pair, *after)
            for what, given in lists.items():
                yield Case(f"{says} {what}", "WIRE-6 CONN-7", (Send(request(name, *given)), *refused))
        tails = {
            "an extra one": (extra,),
            "an empty extra one": ((b"extra", b""),),
            "the last one again": (pairs[-1],),
            "another request": ((b"request", b"find_dest"), (b"label", b"")),
            "odd bytes": ((b"\xff\n\x01", b"\x80\x7f\r\n"),),
        }
        for what, tail in tails.items():
            yield Case(f"{says} and then {what}", "WIRE-7", (Send(request(name, *pairs, *tail)), *done[name]))


REQUEST_CASES: Final = (
    Case("empty list", "CONN-4", (Send(b"\0"), Silence())),
    Case("three empty lists in one write", "CONN-4", (Send(b"\0\0\0"), Silence())),
    Case("first attribute is not request", "CONN-5", (Send(attributes((b"x", b"y"))), Silence())),
    Case("first attribute is not request, and empty", "CONN-5", (Send(attributes((b"x", b""))), Silence())),
    Case("first attribute is dummy", "CONN-5", (Send(DUMMY), Silence())),
    Case("first attribute is status", "CONN-5", (Send(DONE), Silence())),
    Case("first attribute is REQUEST", "CONN-5", (Send(attributes((b"REQUEST", b"find_endp"))), Silence())),
    Case("first attribute has an odd name", "CONN-5", (Send(attributes((b"\xff\n\x1b[2J", b"\xfe"))), Silence())),
    Case(
        "request comes second",
        "CONN-5",
        (Send(attributes((b"x", b"y"), *SMUGGLED)), Silence()),
        (Send(attributes((b"x", b"y"), *SMUGGLED)), Expect(missed()), Silence()),
        STOPS_EARLY,
    ),
    Case(
        "request hidden in values of a list that is none",
        "CONN-5",
        (Send(b"x\0request\0find_endp\0label\0smuggled\0\0\0"), Silence()),
        (Send(b"x\0request\0find_endp\0label\0smuggled\0\0\0"), Expect(missed()), Silence()),
        STOPS_EARLY,
    ),
    Case("unknown request", "CONN-6", (Send(request(b"bogus")), Expect(MALFORMED), Silence())),
    Case("request of no name", "CONN-6", (Send(request(b"")), Expect(MALFORMED), Silence())),
    Case("unknown request with attributes", "CONN-6", (Send(request(b"x", *SMUGGLED)), Expect(MALFORMED), Silence())),
    Case("request in capitals", "CONN-6", (Send(request(b"FIND_ENDP")), Expect(MALFORMED), Silence())),
    Case("request with a blank", "CONN-6", (Send(request(b"find_endp ")), Expect(MALFORMED), Silence())),
    Case("request with odd bytes", "CONN-6", (Send(request(b"\xff\n\x1b[2J\x80")), Expect(MALFORMED), Silence())),
    Case(
        "long extra attributes",
        "WIRE-7",
        (Send(request(b"find_endp", (b"label", b""), (b"x", b"y" * 4096), *SMUGGLED)), Expect(missed()), Silence()),
        (
            Send(request(b"find_endp", (b"label", b""), (b"x", b"y" * 4096), *SMUGGLED)),
            Expect(missed()),
            Expect(missed()),
            Silence(),
        ),
        PURGES,
    ),
    Case(
        "label of 60 000 bytes",
        "WIRE-3",
        (Send(find_endp(b"x" * 60_000)), Expect(missed()), Silence()),
    ),
    Case(
        "label of 70 000 bytes",
        "LIMIT-1",
        (Send(find_endp(b"x" * 70_000)), Closed()),
        (Send(find_endp(b"x" * 70_000)), Expect(missed()), Silence()),
        "it has no limit",
    ),
    Case(
        "list in two writes, cut inside a name",
        "WIRE-4",
        (Send(find_endp(b"x")[:3]), Send(find_endp(b"x")[3:]), Expect(missed())),
    ),
    Case(
        "list in two writes, cut before its closing NUL",
        "WIRE-4",
        (Send(find_endp(b"x")[:-1]), Send(b"\0"), Expect(missed())),
    ),
    Case(
        "name without a value is not the end",
        "WIRE-2",
        (Send(b"request\0find_endp\0label\0\0"), Send(b"\0"), Expect(missed()), Silence()),
    ),
    Case("list that never ends", "WIRE-5", (Send(find_endp(b"x")[:-1]), Leave(), Silence())),
    Case(
        "save that never ends",
        "WIRE-5",
        (Send(save_endp(5, ENDPOINT, PROPERTIES)[:-1]), Leave(), Silence(), Held(0)),
    ),
    Case("descriptor on a find", "FD-1", (Send(find_endp(b"x"), 1), Expect(missed()), Silence())),
    Case("descriptor on an empty list", "FD-1", (Send(b"\0", 1), Silence())),
    Case("two descriptors on half a list", "FD-1", (Send(b"req", 2), Send(find_endp(b"x")[3:]), Expect(missed()))),
)


def odd_label_cases() -> Iterator[Case]:
    """Yield labels and properties of any bytes but NUL, saved and found."""
    for odd in (b"", b"\n", b"\xff\x80\xfe", bytes(range(1, 256)), b"request", b"\xc3\xa9", b"%s%n", b"x" * 20_000):
        name = repr(odd)[1:] if len(odd) < 20 else f"of {len(odd)} bytes"
        yield Case(
            f"label and properties {name}",
            "WIRE-3",
            (
                Send(save_endp(5, odd, odd)), Expect(DUMMY), Send(b"\0", 1), Expect(DONE),
                Send(save_dest(5, b"d" + odd, odd, odd)), Expect(DONE),
                Send(find_dest(b"d" + odd)), Expect(found(odd, odd)), Send(DUMMY), Take(), Send(DUMMY), Silence(),
            ),
        )  # fmt: skip


PIPELINING_CASES: Final = (
    Case(
        "two finds in one write",
        "CONN-3",
        (Send(find_endp(b"x") + find_dest(b"x")), Expect(missed() + missed(2)), Silence()),
        (Send(find_endp(b"x") + find_dest(b"x")), Expect(missed()), Silence()),
        PURGES,
    ),
    Case(
        "unknown request and a find in one write",
        "CONN-3",
        (Send(request(b"bogus") + find_endp(b"x")), Expect(MALFORMED + missed()), Silence()),
        (Send(request(b"bogus") + find_endp(b"x")), Expect(MALFORMED), Silence()),
        PURGES,
    ),
    Case(
        "swallowed list and a find in one write",
        "CONN-3 CONN-5",
        (Send(DUMMY + find_endp(b"x")), Expect(missed()), Silence()),
    ),
    Case(
        "empty list and a find in one write",
        "CONN-3 CONN-4",
        (Send(b"\0" + find_endp(b"x")), Expect(missed()), Silence()),
    ),
)

LIST_CASES: Final = (*ttl_cases(), *matching_cases(), *REQUEST_CASES, *odd_label_cases(), *PIPELINING_CASES)
