#!/bin/sh
# Layout (clang-format), a build with clang, and clang-tidy. Usage: tools/lint.sh BUILD
set -eu
build=$1
git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror
[ -f build-clang/build.ninja ] || CC=clang meson setup build-clang >/dev/null
ninja -C build-clang
git ls-files 'src/*.c' | xargs -P "$(nproc)" -n 1 clang-tidy --quiet -p build-clang
