"""The suite's own end of the protocol: encoder, peer and transcript."""
