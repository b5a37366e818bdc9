#!/bin/bash
# topic.sh TOPIC [BROKER [CLIENT.PROPERTIES]]
#
# Makes the topic and says who may do what: `consume` reads it, `producer` writes it. Doing it again changes nothing.
set -euo pipefail

topic=$1
bin=${KAFKA_BIN:-/opt/kafka/bin}
broker=(--bootstrap-server "${2:-queue:9092}" --command-config "${3:-/deploy/client.properties}")
day=86400000

# A topic that is there already keeps its settings; the consumer refuses one that keeps its records too long.
"$bin"/kafka-topics.sh "${broker[@]}" --create --if-not-exists --topic "$topic" --partitions 12 \
    --config cleanup.policy=delete --config "retention.ms=$day" --config segment.ms=3600000
"$bin"/kafka-acls.sh "${broker[@]}" --add --force --allow-principal User:consume \
    --consumer --topic "$topic" --group textkeep
"$bin"/kafka-acls.sh "${broker[@]}" --add --force --allow-principal User:consume \
    --operation DescribeConfigs --topic "$topic"
"$bin"/kafka-acls.sh "${broker[@]}" --add --force --allow-principal User:producer --operation Write --topic "$topic"
