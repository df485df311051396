"""Live traffic between any clients and any server: passed on, shown, and judged."""
