# Where downloaded and generated guest files are kept. Sourced by the other scripts here.
cache=${QUERN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/quern}
mkdir -p "$cache"

# apt for another architecture than this system's, with lists of its own: nothing on this system changes.
#   foreign_apt i386 apt-get download PACKAGE
foreign_apt() {
    foreign_arch=$1
    foreign_state=$cache/apt-$1
    foreign_tool=$2
    shift 2
    mkdir -p "$foreign_state/lists/partial" "$foreign_state/cache/archives/partial"
    "$foreign_tool" -q -o APT::Architecture="$foreign_arch" -o APT::Architectures::="$foreign_arch" \
        -o Dir::State::lists="$foreign_state/lists" -o Dir::Cache="$foreign_state/cache" "$@"
}
