# Where downloaded and generated guest files are kept. Sourced by the other scripts here.
cache=${QUERN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/quern}
mkdir -p "$cache"
