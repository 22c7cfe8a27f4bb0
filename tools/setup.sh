#!/bin/sh
# Installs the Debian packages of the named sets (tools/packages) that are missing, with sudo when not root.
# Usage: tools/setup.sh SET...
set -eu
list=$(dirname "$0")/packages
missing=
for set in "$@"; do
    for package in $(sed -n "s/^$set //p" "$list"); do
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing="$missing $package"
    done
done
[ -n "$missing" ] || exit 0
as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
        echo "setup: these packages are missing and there is no sudo to install them; as root: apt-get install$missing" >&2
        exit 1
    }
    as_root=sudo
fi
echo "setup: installing$missing"
# shellcheck disable=SC2086 # word splitting is what makes the list a list
install() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null; }
$as_root apt-get update -q >/dev/null
install
