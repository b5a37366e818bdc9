#!/bin/bash
# Formats the broker's folder the first time, then becomes the broker.
set -euo pipefail
umask 077

# Kafka's own example of an id; one broker is a cluster of its own, and its name never leaves it.
cluster=4L6g3nShT-eMCtK--X86sw
bin=${KAFKA_BIN:-/opt/kafka/bin}
config=${1:-/deploy/server.properties}

"$bin"/kafka-storage.sh format --ignore-formatted --cluster-id "$cluster" --config "$config"
exec "$bin"/kafka-server-start.sh "$config"
