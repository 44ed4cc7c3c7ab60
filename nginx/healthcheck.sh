#!/bin/sh
# Whether nginx answers, by what the image has: wget in the Alpine one, bash in the Debian one.
if command -v wget >/dev/null; then
    exec wget -q -T 2 -O /dev/null http://127.0.0.1:8081/health
fi
# shellcheck disable=SC2016  # meant for bash
exec timeout 2 bash -c '
    exec 3<>/dev/tcp/127.0.0.1/8081
    printf "GET /health HTTP/1.0\r\n\r\n" >&3
    read -r _ status _ <&3
    [ "$status" = 204 ]'
