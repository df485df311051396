#!/bin/sh
# From a shell: one program parks a connection, and this script goes on with it through the client in C.
#
#     scached --listen cache.sock --ttl-limit 1m &
#     sh examples/from_a_shell.sh cache.sock 127.0.0.1 7007
set -eu
cache=$1 host=$2 port=$3
here=$(dirname "$0")
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT

cc -Wall -o "$folder/find" "$here/find.c"
"${PYTHON:-python3}" "$here/one_parks.py" "$cache" "$host" "$port"
label=$(printf 'example\n%s\n%s' "$host" "$port")
"$folder/find" "$cache" "$label" 'hello from a shell'

# Nothing is parked there any more: a connection is taken up once.
if "$folder/find" "$cache" "$label" 'hello again'; then
    echo "that was to fail" >&2
    exit 2
fi
