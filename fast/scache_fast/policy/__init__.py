"""What an operator may decide about clients and parked connections: who may connect, farewells, liveness."""
