#!/usr/bin/env bash
# Runs all checks and all tests, and installs what they need:
#
#   scripts/test.sh                     everything
#   scripts/test.sh -- FILTER…          the checks, then only the tests whose names contain FILTER
#
# In this order: installation of missing packages (Debian, Ubuntu; without questions and system services), the licences
# and sources of the dependencies, the English of comments and documents (scripts/prose.py), the built guide
# (scripts/guide.sh), formatting, lints, the build, the documentation's examples, then every test on a private MariaDB
# and Redis (scripts/services.sh), through the real binary, with clients in another language, in a real browser,
# with mutated requests (scripts/fuzz.sh), and while its parts are killed (scripts/faults.sh). The last lines are the test
# runner's summary; the exit status is the tests'.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:/usr/local/sbin"
exec </dev/null

step() { printf '\n== %s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }
node_is_new_enough() { have node && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 18 ]; }
browser() { for name in chromium chromium-browser google-chrome; do command -v "$name" && return; done; }

# Prints the missing Debian packages, one in each line.
missing_packages() {
  have mariadbd && have mariadb-install-db && have mariadb-admin || echo mariadb-server
  have redis-server && have redis-cli || echo redis-server
  browser >/dev/null || echo chromium
  node_is_new_enough || echo nodejs
  have npm || echo npm
  have python3 || echo python3
  have promtool || echo prometheus
  python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  have cc || printf '%s\n' gcc libc6-dev
  have setpriv && have setsid || echo util-linux
}

# Prints those without which only some tests are skipped.
optional_packages() { have haproxy || echo haproxy; }

# A Debian server package starts its server after the installation and at each boot. `policy-rc.d` prevents the first; an
# existing one has the same effect. In a subshell, for its EXIT trap.
apt_install() (
  as_root=()
  if [ "$(id -u)" != 0 ]; then
    as_root=(sudo -n)
    have sudo && sudo -n true 2>/dev/null || exit 1
  fi
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod +x "$policy"
  fi
  "${as_root[@]}" apt-get -qq -o DPkg::Lock::Timeout=300 update &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@" >/dev/null || exit 1
  if have systemctl; then
    case " $* " in *" mariadb-server "*) "${as_root[@]}" systemctl disable mariadb ;; esac
    case " $* " in *" redis-server "*) "${as_root[@]}" systemctl disable redis-server ;; esac
    case " $* " in *" prometheus "*) "${as_root[@]}" systemctl disable prometheus ;; esac
    case " $* " in *" haproxy "*) "${as_root[@]}" systemctl disable haproxy ;; esac
  fi >/dev/null 2>&1 || true
)

step "tools"
if ! have cargo && [ -x "$HOME/.cargo/bin/cargo" ]; then PATH="$HOME/.cargo/bin:$PATH"; fi
have cargo || { echo "error: cargo is missing; install Rust from https://rustup.rs and start again" >&2; exit 1; }
packages=$(missing_packages; optional_packages)
if [ -n "$packages" ] && have apt-get; then
  echo "installing: ${packages//$'\n'/ }"
  # shellcheck disable=SC2086 # one word for each package
  apt_install $packages || echo "error: the installation failed, or needs root" >&2
fi
packages=$(missing_packages)
if [ -n "$packages" ]; then
  packages=${packages//$'\n'/ }
  echo "error: missing (names of the Debian packages; nodejs must be 18 or newer): $packages" >&2
  echo "hint: on Debian, as root: apt-get install --no-install-recommends $packages" >&2
  exit 1
fi
for component in fmt clippy; do
  cargo "$component" --version >/dev/null 2>&1 ||
    { echo "error: 'cargo $component' is missing (with rustup: rustup component add rustfmt clippy)" >&2; exit 1; }
done
CHROMIUM=$(browser)
export CHROMIUM

# Runs `npm ci` only if the lock file has changed.
for folder in tests/clients tests/browser tests/issuer tests/openapi tests/receivers sdk/typescript; do
  if [ ! "$folder/node_modules/.installed" -nt "$folder/package-lock.json" ]; then
    step "npm ci in $folder"
    npm ci --prefix "$folder" --loglevel=error --no-audit --no-fund
    touch "$folder/node_modules/.installed"
  fi
done

npm run build --prefix sdk/typescript --silent

# The same for Python packages.
for folder in tests/kubernetes tests/openapi tests/receivers tests/smtp sdk/python; do
  venv=$folder/.venv
  if [ ! "$venv/.installed" -nt "$folder/requirements.txt" ]; then
    step "pip install in $folder"
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$folder/requirements.txt"
    touch "$venv/.installed"
  fi
done

# cargo-deny checks the dependencies. A build without optimisation is enough, and ten times as fast.
tools=${CARGO_TARGET_DIR:-target}/tools
deny_version=0.20.2
if [ "$("$tools/bin/cargo-deny" --version 2>/dev/null)" != "cargo-deny $deny_version" ]; then
  step "cargo install cargo-deny"
  CARGO_TARGET_DIR=$tools/build CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo install --quiet --locked --root "$tools" --version "$deny_version" cargo-deny
  rm -rf "$tools/build"
fi

# Programs that are built from their Go modules. Without Go their tests are skipped.
skip=()
go_tool() { # VARIABLE NAME PACKAGE VERSION TEST
  local file
  file=$(realpath -m "$tools/$2-$4")
  if [ ! -x "$file" ] && have go; then
    step "go build $2"
    scripts/build-go-tool.sh "$3" "$4" "$file" || echo "error: $2 cannot be built" >&2
  fi
  if [ -x "$file" ]; then
    export "$1=$file"
  else
    echo "skipping $5: it needs Go (1.25 or newer) to build $2"
    skip+=(--skip "$5")
  fi
}
go_tool ORDERS_TEST_JAEGER jaeger github.com/jaegertracing/jaeger/cmd/all-in-one v1.76.0 \
  traces::jaeger_shows_one_trace_of_an_order
go_tool ORDERS_TEST_HELM helm helm.sh/helm/v3/cmd/helm v3.22.0 kubernetes::helm
go_tool ORDERS_TEST_KUSTOMIZE kustomize sigs.k8s.io/kustomize/kustomize/v5 v5.8.0 kubernetes::kustomize

if ! have valkey-server; then
  echo "skipping valkey_: it needs valkey-server (the package of Debian 13 or Ubuntu 24.04)"
  skip+=(--skip valkey_)
fi
if ! have go; then
  echo "skipping sdk::go_: it needs Go (1.26 or newer)"
  skip+=(--skip sdk::go_)
fi

if ! have haproxy; then
  echo "skipping rollout::, compose::haproxy and failover::galera_behind_haproxy: they need HAProxy"
  skip+=(--skip rollout:: --skip compose::haproxy --skip failover::galera_behind_haproxy)
fi
# The path of a mysqld of MySQL; that of MariaDB has no Group Replication.
mysqld=${ORDERS_TEST_MYSQLD:-mysqld}
if ! have "$mysqld" || "$mysqld" --no-defaults --version | grep -q MariaDB; then
  echo "skipping group_replication::group_replication: it needs mysqld of MySQL 8 or newer (ORDERS_TEST_MYSQLD)"
  skip+=(--skip group_replication::group_replication)
fi
if [ ! -f /usr/lib/galera/libgalera_smm.so ] || ! have rsync; then
  echo "skipping failover::galera_ and topology::galera_cluster: they need Galera (packages galera-4, rsync)"
  skip+=(--skip failover::galera_ --skip topology::galera_cluster)
fi

if [ -z "${ORDERS_TEST_VITESS_URL:-}" ]; then
  echo "skipping sharded::: it needs Vitess (scripts/vitess.sh, as root; the first start builds it from its Go modules)"
  skip+=(--skip sharded::)
fi

[ "${1:-}" != -- ] || shift
step "dependencies"
"$tools/bin/cargo-deny" --log-level error check --hide-inclusion-graph licenses bans sources
step "English"
scripts/prose.py --self-test
scripts/prose.py
step "guide"
scripts/guide.sh --check
step "formatting"
cargo fmt --all --check
step "lints"
cargo clippy --workspace --all-targets -- -D warnings
step "build"
cargo build

if cargo nextest --version >/dev/null 2>&1; then
  # nextest does not run the examples of the documentation.
  if [ $# = 0 ]; then
    step "documentation examples"
    cargo test --workspace --doc
  fi
  step "tests"
  exec scripts/services.sh run -- cargo nextest run --workspace --no-fail-fast -- "${skip[@]}" "$@"
fi
step "tests"
exec scripts/services.sh run -- scripts/test-summary.sh cargo test --workspace --no-fail-fast -- "${skip[@]}" "$@"
