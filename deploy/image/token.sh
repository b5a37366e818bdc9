#!/bin/sh
# token.sh FILE: leaves the consumer's token in FILE, unless there is one that is good for some time yet.
#
# Being the first to open a new archive, it also makes the keyring and the days: the processes that wait for it need not
# be able to write a root key.
set -eu
umask 077

file=$1
days=400
renew=300

if [ -s "$file" ] && [ -z "$(find "$file" -mtime "+$renew")" ]; then
    exit 0
fi
rm -f "$file.new"
textkeep token create --role producer --for kafka-consumer --days "$days" >"$file.new"
mv "$file.new" "$file"
