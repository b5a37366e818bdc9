#!/bin/bash
# Makes the node's configuration in memory, with the hash of the one password, and becomes the node. The image's own
# start is not used: it takes its configuration from the image's folder, and settings and passwords from the environment.
set -euo pipefail
umask 077

home=/usr/share/opensearch
export OPENSEARCH_PATH_CONF=/run/opensearch

cp -r "$home"/config/. "$OPENSEARCH_PATH_CONF"/
cp /deploy/opensearch.yml "$OPENSEARCH_PATH_CONF"/opensearch.yml
cp /deploy/config.yml /deploy/roles.yml /deploy/roles_mapping.yml "$OPENSEARCH_PATH_CONF"/opensearch-security/
mkdir -p "$OPENSEARCH_PATH_CONF"/certs
cp /certs/index/*.pem "$OPENSEARCH_PATH_CONF"/certs/

PASSWORD=$(cat /run/secrets/index-password)
export PASSWORD
hash=$(bash "$home"/plugins/opensearch-security/tools/hash.sh -env PASSWORD | tail -n 1)
unset PASSWORD
case $hash in
    '$2'*) ;;
    *) echo "index: the password could not be hashed" >&2; exit 1 ;;
esac
sed "s|@HASH@|$hash|" /deploy/internal_users.yml >"$OPENSEARCH_PATH_CONF"/opensearch-security/internal_users.yml

cd "$home"
export OPENSEARCH_JAVA_OPTS="-Dopensearch.cgroups.hierarchy.override=/ ${OPENSEARCH_JAVA_OPTS:-}"
exec ./bin/opensearch
