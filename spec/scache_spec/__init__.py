"""The executable specification of a shared connection cache: pure functions over values.

Nothing in this package reads a clock, owns a descriptor or touches a socket. Start reading at
`scache_spec.events`, or at the generated `spec/SPEC.md`.
"""
