#!/bin/bash
# Runs once, when the cluster is made: the database of the keyring, its owner (for `textkeep migrate` alone), and the
# service's role, which owns nothing. Nothing of the data lies here, and no password is one of the data's.
set -euo pipefail

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username postgres --dbname postgres <<'SQL'
\set owner `cat ${SECRETS:-/run/secrets}/keyring-owner`
\set service `cat ${SECRETS:-/run/secrets}/keyring-service`
CREATE ROLE textkeep_owner LOGIN PASSWORD :'owner';
CREATE ROLE textkeep LOGIN PASSWORD :'service';
CREATE DATABASE textkeep_keyring OWNER textkeep_owner TEMPLATE template0 ENCODING 'UTF8'
    LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C';
REVOKE ALL ON DATABASE textkeep_keyring, postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE textkeep_keyring TO textkeep;
SQL
