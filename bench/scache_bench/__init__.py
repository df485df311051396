"""Benchmarks of connection cache servers, side by side: `python -m scache_bench`."""
