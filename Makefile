# Quern. `make` builds, `make run` boots Linux to a shell, `make test` runs every test; each installs what is missing.
# The build itself is Meson's (meson.build); this file is the front door.

BUILD ?= build
MESON_OPTIONS ?=
PROGRAM = $(BUILD)/qemu-system-x86_64

.PHONY: all build setup run guest test test-long sanitize bench install lint format clean

all: build

setup:
	@tools/setup.sh build

build: setup
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) $(MESON_OPTIONS)
	@ninja -C $(BUILD)

# Debian's kernel and a busybox initramfs, in a cache folder.
guest:
	@tools/setup.sh build guest
	@tools/guest/fetch-kernel.sh >/dev/null
	@tools/guest/make-initramfs.sh >/dev/null

run: build guest
	@tools/guest/run.sh $(PROGRAM) $(ARGS)

# The tests, and those without boots once more in a build with AddressSanitizer and UndefinedBehaviorSanitizer.
test: build guest build-asan/build.ninja
	@tools/setup.sh build guest test
	@tools/run-tests.py --build $(BUILD) --sanitized build-asan $(TESTS)

test-long: build guest
	@tools/setup.sh build guest test
	@tools/guest/fetch-xen.sh >/dev/null
	@tools/guest/make-root.sh >/dev/null
	@tools/run-tests.py --build $(BUILD) --long $(TESTS)

# The tests without boots, in a build with AddressSanitizer and UndefinedBehaviorSanitizer and one with ThreadSanitizer.
sanitize: build-asan/build.ninja build-tsan/build.ninja
	@tools/setup.sh build test
	@tools/run-tests.py --sanitized build-asan --sanitized build-tsan $(TESTS)

build-asan/build.ninja: | setup
	@meson setup build-asan -Db_sanitize=address,undefined -Db_lundef=false

build-tsan/build.ninja: | setup
	@meson setup build-tsan -Db_sanitize=thread -Db_lundef=false

bench: build guest
	@tools/setup.sh build guest bench
	@bench/run.py --program $(PROGRAM) $(ARGS)

install: build
	@meson install -C $(BUILD)

lint:
	@tools/setup.sh lint
	@tools/lint.sh $(BUILD)

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	@rm -rf $(BUILD) build-*
