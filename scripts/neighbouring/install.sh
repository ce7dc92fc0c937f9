#!/usr/bin/env bash
# Installs what stands beside Cardveil elsewhere, from Debian's packages, beyond what scripts/setup.sh installs. Their
# services are not started.
set -euo pipefail

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing=()
need() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing+=("$2"); }
need nginx nginx-light
[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing+=(libnginx-mod-stream)
need haproxy haproxy
need syslog-ng syslog-ng-core
need patroni patroni
need etcd etcd-server
need openssl openssl
[ "${#missing[@]}" -gt 0 ] || exit 0
echo "installing ${missing[*]}"
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  # Debian's word for "do not start it" (invoke-rc.d(8)).
  printf '#!/bin/sh\nexit 101\n' | as_root install -m 755 /dev/stdin "$policy"
  trap 'as_root rm -f "$policy"' EXIT
fi
as_root apt-get update -qq
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
