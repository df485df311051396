"""scachectl: watch and steer a running server, and park and find connections from a shell."""
