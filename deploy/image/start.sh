#!/bin/sh
# What is written is its user's alone, a crash leaves no image of the memory, and signals reach the command itself.
set -eu
umask 077
ulimit -c 0
exec textkeep "$@"
