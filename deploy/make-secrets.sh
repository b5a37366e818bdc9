#!/bin/sh
# Makes what docker-compose.yml mounts as secrets, in deploy/secrets (or the folder named). What is there stays as it is.
#
# The folder is its owner's alone (0700): nobody else on this machine reaches what lies in it. The files inside are
# 0444, because compose mounts them with the owner and the mode they have here, and each container runs as a user of its
# own, none of whom is you.
set -eu
umask 077

folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 0700 "$folder"

# 32 random bytes as hexadecimal: nothing that a URL, a shell or SQL would have to quote.
random() {
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

# put NAME: standard input becomes the secret, unless there is one.
put() {
    if [ -s "$folder/$1" ]; then
        cat >/dev/null
    else
        cat >"$folder/$1.new"
        chmod 0444 "$folder/$1.new"
        mv "$folder/$1.new" "$folder/$1"
    fi
}

password() {
    random | put "$1"
}

# url NAME PASSWORD-FILE PREFIX SUFFIX: made anew each time, so that it never names an older password.
url() {
    rm -f "$folder/$1"
    printf '%s%s%s' "$3" "$(cat "$folder/$2")" "$4" | put "$1"
}

for name in data-superuser data-owner data-service keyring-superuser keyring-owner keyring-service index-password; do
    password "$name"
done

tls='sslmode=verify-full&sslrootcert=/certs/public/ca.pem'
url data-owner-url data-owner 'postgresql://textkeep_owner:' "@data:5432/textkeep?$tls"
url data-service-url data-service 'postgresql://textkeep:' "@data:5432/textkeep?$tls"
url keyring-owner-url keyring-owner 'postgresql://textkeep_owner:' "@keyring:5432/textkeep_keyring?$tls"
url keyring-service-url keyring-service 'postgresql://textkeep:' "@keyring:5432/textkeep_keyring?$tls"
url index-url index-password 'https://textkeep:' '@index:9200/textkeep?ca=/certs/public/ca.pem'

echo "secrets: in $folder"
