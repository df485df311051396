"""Wrong rules: which bindings are the same, in which order they are tried, what ends them."""

from dataclasses import replace
from operator import attrgetter

from tests.wrong.registry import wrong
from tests.wrong.rules.escapes import NO_SUCH_SCOPE, NOT_GENERATED

from scache_spec import cache as caches
from scache_spec.conversation import Action
from scache_spec.vocabulary import NS_PER_S


def with_bindings(cache, bindings):
    return replace(cache, bindings=tuple(bindings))


# Finding.


@wrong("DEST-4", of=caches.find_dest)
def second_binding_is_tried_first(right, cache, destination):
    """The bindings of a destination are tried from the last to the first."""
    after, pair = right(with_bindings(cache, cache.bindings[::-1]), destination)
    return with_bindings(after, cache.bindings), pair


@wrong("DEST-4", of=caches.find_dest)
def only_the_first_binding_is_tried(right, cache, destination):
    """If the first binding leads nowhere, the others are not tried."""
    first = [each for each in cache.bindings if each.destination == destination][:1]
    after, pair = right(with_bindings(cache, first), destination)
    return with_bindings(after, cache.bindings), pair


@wrong("DEST-4", of=caches.find_dest)
def first_bindings_properties(right, cache, destination):
    """A find_dest hands out the properties of the destination's first binding, whichever led to the session."""
    first = [each for each in cache.bindings if each.destination == destination][:1]
    cache, pair = right(cache, destination)
    return cache, pair and (*first, pair[1])


@wrong("CONN-13", "DEST-4", of=Action.HOLD)
def properties_swapped(right, server, client, given):
    """In the reply to find_dest the session's properties come before the binding's."""
    found = replace(given.found, properties=given.found.properties[::-1])
    return right(server, client, replace(given, found=found))


@wrong("DEST-5", of=caches.find_dest)
def find_consumes_its_binding(right, cache, destination):
    """The binding that led to a session goes with it."""
    after, pair = right(cache, destination)
    return with_bindings(after, (each for each in after.bindings if pair is None or each is not pair[0])), pair


@wrong("DEST-5", of=caches.find_dest)
def find_renews_its_binding(right, cache, destination):
    """The binding that led to a session lives five seconds longer."""
    after, pair = right(cache, destination)
    if pair is None:
        return after, pair
    longer = replace(pair[0], expiry_ns=pair[0].expiry_ns + 5 * NS_PER_S)
    return with_bindings(after, (longer if each is pair[0] else each for each in after.bindings)), pair


@wrong("DEST-1", "DEST-5", of=caches.find_endp)
def binding_goes_with_its_last_session(right, cache, endpoint):
    """An endpoint whose last session is found takes the bindings to it along."""
    after, found = right(cache, endpoint)
    if found is not None and all(each.endpoint != endpoint for each in after.sessions):
        after = with_bindings(after, (each for each in after.bindings if each.endpoint != endpoint))
    return after, found


# Saving.


@wrong("DEST-2", of=caches.save_dest)
def renewal_is_ignored(right, cache, binding):
    """Saving a binding again changes nothing."""
    return cache if caches._same_binding(cache, binding) else right(cache, binding)


def renewed_to(choose, right, cache, binding):
    """Let a binding that is saved again expire at one of two instants: that before, that from now."""
    old = caches._same_binding(cache, binding) or binding
    return right(cache, choose(old, binding, key=attrgetter("expiry_ns")))


@wrong("DEST-2", of=caches.save_dest)
def renewal_only_extends(*given):
    """Saving a binding again makes it end later, never sooner."""
    return renewed_to(max, *given)


@wrong("DEST-2", of=caches.save_dest)
def renewal_only_shortens(*given):
    """Saving a binding again makes it end sooner, never later."""
    return renewed_to(min, *given)


@wrong("DEST-2", of=caches.save_dest)
def renewal_reorders(right, cache, binding):
    """A binding that is saved again goes last."""
    kept = caches._same_binding(cache, binding)
    return right(with_bindings(cache, (each for each in cache.bindings if each is not kept)), binding)


@wrong("DEST-2", of=caches.save_dest)
def renewal_makes_a_second(right, cache, binding):
    """A binding that is saved again exists twice."""
    return with_bindings(cache, (*cache.bindings, binding))


@wrong("DEST-3", of=caches.save_dest)
def one_binding_per_destination(right, cache, binding):
    """A destination has one binding: the last that was saved."""
    others = (each for each in cache.bindings if each.destination != binding.destination)
    return with_bindings(cache, (*others, binding))


@wrong("DEST-3", "DEST-4", of=caches.save_dest)
def newest_binding_first(right, cache, binding):
    """A new binding goes before the others of its destination."""
    known = caches._same_binding(cache, binding)
    return right(cache, binding) if known else with_bindings(cache, (binding, *cache.bindings))


@wrong("DEST-1", of=caches.save_dest)
def binding_wants_a_session(right, cache, binding):
    """A binding to an endpoint that has no session is not kept."""
    return right(cache, binding) if any(s.endpoint == binding.endpoint for s in cache.sessions) else cache


# What makes two bindings the same.


def known_by(key, right, cache, binding):
    """Take bindings for the same if they have the same key."""
    return next((each for each in cache.bindings if key(each) == key(binding)), None)


@wrong("DEST-3", of=caches._same_binding)
def one_binding_per_endpoint(*given):
    """Bindings of a destination to the same endpoint are the same, whatever their properties."""
    return known_by(attrgetter("destination", "endpoint"), *given)


@wrong("DEST-3", of=caches._same_binding)
def one_binding_per_properties(*given):
    """Bindings of a destination with the same properties are the same, whatever their endpoint."""
    return known_by(attrgetter("destination", "properties"), *given)


@wrong("DEST-3", of=caches._same_binding)
def one_binding_for_all_destinations(*given):
    """Bindings to the same endpoint with the same properties are the same, whatever their destination."""
    return known_by(attrgetter("endpoint", "properties"), *given)


@wrong("DEST-3", of=caches._same_binding, escapes=NO_SUCH_SCOPE | NOT_GENERATED)
def endpoint_and_properties_run_together(*given):
    """A binding is known by its endpoint and properties written one after the other."""
    return known_by(lambda each: (each.destination, each.endpoint + each.properties), *given)


@wrong("DEST-3", of=caches._same_binding, escapes=NO_SUCH_SCOPE | NOT_GENERATED)
def properties_and_endpoint_run_together(*given):
    """A binding is known by its properties and endpoint written one after the other."""
    return known_by(lambda each: (each.destination, each.properties + each.endpoint), *given)


@wrong("DEST-3", of=caches._same_binding, escapes=NO_SUCH_SCOPE | NOT_GENERATED)
def binding_is_known_by_lines(*given):
    """A binding is known by its destination, endpoint and properties, joined by newlines."""
    return known_by(lambda each: b"\n".join((each.destination, each.endpoint, each.properties)), *given)


@wrong("DEST-3", of=caches._same_binding, escapes=NO_SUCH_SCOPE | NOT_GENERATED)
def destination_and_endpoint_run_together(*given):
    """A binding is known by its destination and endpoint written one after the other, and its properties."""
    return known_by(lambda each: (each.destination + each.endpoint, each.properties), *given)
