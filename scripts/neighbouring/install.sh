#!/usr/bin/env bash
# Installs what stands beside Cardveil elsewhere, from Debian's packages. Their services are not started.
set -euo pipefail

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing=()
for package in openssl nginx-light libnginx-mod-stream haproxy pgbouncer syslog-ng-core patroni etcd-server prometheus postgresql; do
  # Any flavour of nginx will do.
  [ "$package" = nginx-light ] && [ -x /usr/sbin/nginx ] && continue
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
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
