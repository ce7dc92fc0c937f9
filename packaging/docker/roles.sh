#!/bin/sh
# Run once, by the image of PostgreSQL, when its folder is empty: the owner of the schema, and the role
# that the server has, which owns nothing.
set -eu
secret() { cat "/run/secrets/$1"; }
psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --set owner="$(secret postgres_owner)" --set server="$(secret postgres_server)" <<'SQL'
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE ROLE cardveil_owner LOGIN PASSWORD :'owner';
CREATE ROLE cardveil LOGIN PASSWORD :'server';
GRANT CREATE, CONNECT ON DATABASE cardveil TO cardveil_owner;
GRANT CONNECT ON DATABASE cardveil TO cardveil;
SQL
