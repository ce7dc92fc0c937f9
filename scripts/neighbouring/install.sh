#!/usr/bin/env bash
# Installs what stands beside Cardveil elsewhere, from Debian's packages. Their services are not started.
set -euo pipefail
cd "$(dirname "$0")/../.."

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing=()
need() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing+=("$2"); }
need openssl openssl
need nginx nginx-light
[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing+=(libnginx-mod-stream)
need haproxy haproxy
need pgbouncer pgbouncer
need syslog-ng syslog-ng-core
need patroni patroni
need etcd etcd-server
need promtool prometheus
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
# For the generators of clients.
need java default-jre-headless
need node nodejs
need npm npm
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)

if [ "${#missing[@]}" -gt 0 ]; then
  echo "installing ${missing[*]}"
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    # Debian's word for "do not start it" (invoke-rc.d(8)).
    printf '#!/bin/sh\nexit 101\n' | as_root install -m 755 /dev/stdin "$policy"
    trap 'as_root rm -f "$policy"' EXIT
  fi
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
[ -x web/node_modules/.bin/tsc ] || (cd web && npm ci --silent --no-fund --no-audit)
