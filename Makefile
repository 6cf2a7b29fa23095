# A thin front for CMake: what each target does stands in the folder that owns it.
BUILD ?= build/release
ASAN ?= build/asan
TSAN ?= build/tsan
CMAKE_FLAGS ?= -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo
JOBS ?= $(shell nproc)
# Programs as root: mounting needs it.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: all deps build asan tsan demo demo-stop test fresh soak bench bench-distance clean

all: build

deps:
	@.ci/install-packages

build: deps
	@cmake -S . -B $(BUILD) $(CMAKE_FLAGS) >/dev/null
	@cmake --build $(BUILD) -j $(JOBS)

asan: deps
	@cmake -S . -B $(ASAN) $(CMAKE_FLAGS) -DDC_SANITIZE=address >/dev/null
	@cmake --build $(ASAN) -j $(JOBS)

# What runs under the thread sanitizer: the servers and the tests of what crosses threads.
tsan: deps
	@cmake -S . -B $(TSAN) $(CMAKE_FLAGS) -DDC_SANITIZE=thread >/dev/null
	@cmake --build $(TSAN) -j $(JOBS) --target thread_tests distcloud-access distcloud-core \
		distcloud-hint distcloud

# Unit tests and some seeds run under the sanitizers, too; the lab runs the real servers. Two at a
# time: what times something or wants all cores says so to ctest.
test: build asan tsan
	@ctest --test-dir $(ASAN) -j 2 -L 'unit|fuzz|sim' -E planted_bugs --output-on-failure
	@$(SUDO) ctest --test-dir $(ASAN) -j 2 -L hostile --output-on-failure
	@$(SUDO) ctest --test-dir $(TSAN) -j 2 -L thread --output-on-failure
	@$(SUDO) ctest --test-dir $(BUILD) -j 2 --output-on-failure

demo: build
	@$(SUDO) tests/lab/demo start $(BUILD)/bin build/demo

demo-stop:
	@$(SUDO) tests/lab/demo stop $(BUILD)/bin build/demo

# The two commands of README.md on an untouched Debian 12 in a directory, as a user with sudo.
# FRESH=--test: make test there, too.
fresh:
	@mkdir -p build
	@$(SUDO) tests/lab/fresh $(FRESH) build/fresh

# SECONDS is how long the simulator goes on, e.g. make soak SECONDS=36000; before it memory under ten
# minutes of load, and with 1 TiB of sparse files; half an hour of random faults; each drill ROUNDS times.
ROUNDS ?= 100
SECONDS ?= 3600
soak: build
	@$(SUDO) env SECONDS=600 tests/lab/memory.py $(BUILD)/bin $(BUILD)/lab/memory
	@$(SUDO) tests/lab/drill_run.py $(BUILD)/bin $(BUILD)/lab/drill_anything anything
	@$(SUDO) env ROUNDS=$(ROUNDS) tests/lab/drill_run.py $(BUILD)/bin $(BUILD)/lab/drill_run
	@$(BUILD)/bin/sim --soak $(SECONDS)

bench: build
	@$(SUDO) bench/run $(BUILD)/bin

# The same servers with 0, 10 and 30 ms of round trip between the sites, beside what may be expected there.
bench-distance: build
	@$(SUDO) bench/distance $(BUILD)/bin

clean:
	@rm -rf build/release build/asan build/tsan
