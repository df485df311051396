"""A black-box conformance suite for shared connection cache servers, in any language.

Everything here talks to a server over its socket with an encoder and a peer of its own. It knows the specification,
for clause texts and as an oracle, and no implementation: a bug shared with one would be invisible.
"""
