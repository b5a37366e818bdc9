#!/bin/bash
# Runs once, when the cluster is made: the database of the sealed texts, its owner (for `textkeep migrate` alone), and
# the service's role, which owns nothing. Passwords are read from files by psql itself: no list of processes shows them.
set -euo pipefail

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username postgres --dbname postgres <<'SQL'
\set owner `cat ${SECRETS:-/run/secrets}/data-owner`
\set service `cat ${SECRETS:-/run/secrets}/data-service`
CREATE ROLE textkeep_owner LOGIN PASSWORD :'owner';
CREATE ROLE textkeep LOGIN PASSWORD :'service';
-- This locale is PostgreSQL's own: an image with another C library sorts the same, and no index breaks.
CREATE DATABASE textkeep OWNER textkeep_owner TEMPLATE template0 ENCODING 'UTF8'
    LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C';
REVOKE ALL ON DATABASE textkeep, postgres, template1 FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE textkeep TO textkeep;
SQL
