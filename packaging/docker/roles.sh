#!/bin/sh
# Run once, by the image of PostgreSQL and as its account, when its folder is empty: the owner of the schema,
# and the role that the server has, which owns nothing.
set -eu
# A secret that cannot be read ends it here; as an argument of psql it would be an empty password.
owner=$(cat /run/secrets/init_owner)
server=$(cat /run/secrets/init_server)
: "${owner:?}" "${server:?}"
psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --set owner="$owner" --set server="$server" <<'SQL'
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE ROLE cardveil_owner LOGIN PASSWORD :'owner';
CREATE ROLE cardveil LOGIN PASSWORD :'server';
GRANT CREATE, CONNECT ON DATABASE cardveil TO cardveil_owner;
GRANT CONNECT ON DATABASE cardveil TO cardveil;
SQL
