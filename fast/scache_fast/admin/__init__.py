"""The admin socket: what a running server tells its operator, and takes from the operator. See docs/admin.md."""
