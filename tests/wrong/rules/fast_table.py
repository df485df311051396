"""Wrong rules: mistakes that the production table's way of working invites."""

from functools import partial

from tests.wrong import registry
from tests.wrong.rules.escapes import CLOSES_ANYTHING, OTHER_CLAUSES, SOON_REMOVED

from scache_fast.engine.expiries import Expiries
from scache_fast.engine.table import Table

wrong = partial(registry.wrong, server="fast")


@wrong("TTL-3", of=Expiries._settle)
def heap_is_unordered(right, self, item, place):
    """Whoever fills a gap in the heap stays there."""
    self.items[place] = item
    item.place = place


@wrong("DEST-2", of=Table.save_dest)
def renewal_keeps_the_old_instant(right, self, destination, properties, endpoint, ttl_s, now_ns):
    """The instant a renewed binding had before still ends it."""
    old = self._destinations.get(destination, {}).get((endpoint, properties))
    expiry_ns = old and old.expiry_ns
    status = right(self, destination, properties, endpoint, ttl_s, now_ns)
    if old is not None and old.place >= 0:
        self._expiries.move(old, expiry_ns)
    return status


@wrong("TTL-5", of=Table.save_dest, escapes=SOON_REMOVED)
def due_binding_is_renewed_in_place(right, self, destination, properties, endpoint, ttl_s, now_ns):
    """A binding that is due and not removed yet is renewed, and keeps its place."""
    old = self._destinations.get(destination, {}).get((endpoint, properties))
    if old is None:
        return right(self, destination, properties, endpoint, ttl_s, now_ns)
    self._expiries.move(old, self._expiry_ns(ttl_s, now_ns))
    return None


@wrong("TTL-5", of=Table.find_dest, escapes=SOON_REMOVED)
def due_binding_leads_on(right, self, destination, now_ns):
    """A binding that is due and not removed yet is found by."""
    return right(self, destination, 0)


@wrong("TTL-3", of=Table._take, escapes=CLOSES_ANYTHING)
def found_session_is_still_due(right, self, record, session):
    """A session that was found expires all the same."""
    right(self, record, session)
    self._expiries.add(session, session.expiry_ns)
    return session


@wrong("ENDP-5", of=Table.put_back)
def put_back_for_ever(right, self, session, now_ns):
    """A session that was put back has no instant in the heap any more."""
    done = right(self, session, now_ns)
    if done:
        self._expiries.remove(session)
    return done


@wrong("ENDP-2", of=Table._unlink, escapes=OTHER_CLAUSES)
def queue_keeps_its_end(right, self, record, session):
    """A session that left the end of its queue is still taken for the end."""
    newest = record.newest
    right(self, record, session)
    record.newest = newest


@wrong("DEST-1", of=Table._unlink)
def bound_endpoint_is_dropped(right, self, record, session):
    """An endpoint without sessions is dropped under the bindings that lead to it."""
    right(self, record, session)
    if not record.sessions:
        self._endpoints.pop(record.label, None)
