"""The loop, the conversations and the table: all that serves a client. What is compiled is exactly this folder."""
