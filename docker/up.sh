#!/usr/bin/env bash
# Build, start, follow the run, print its summary; the exit code is the runner's. `make up` calls it, with Compose's
# command in COMPOSE ("docker compose" or "docker-compose") and maybe RUN_UID and RUN_GID.
set -euo pipefail
cd "$(dirname "$0")/.."
read -ra compose <<<"$COMPOSE"

fail() { echo "error: $1" >&2; exit "${2:-1}"; }

docker version >/dev/null 2>&1 || fail "a Docker engine must answer, none does: start it, or make run (no containers)"

# A file of the GPU without a GPU would fail late and at length.
files=${COMPOSE_FILE:-$(sed -n 's/^COMPOSE_FILE=//p' .env)}
if [[ $files == *gpu* ]] && ! docker info --format '{{json .Runtimes}}' | grep -q nvidia; then
  fail "compose.gpu.yml needs an engine with the NVIDIA runtime, this one has none: leave it out of COMPOSE_FILE" 2
fi

[ -d "${RESEARCH_DIR:-research}" ] \
  || fail "RESEARCH_DIR must be a folder, ${RESEARCH_DIR:-research} is not: mkdir it (empty: the sample), or correct it" 4
mkdir -p "${RESULTS_DIR:-results}" 2>/dev/null \
  || fail "RESULTS_DIR must be a folder, ${RESULTS_DIR:-results} cannot be made: mkdir it, or correct it" 6

# The containers run as whoever calls; root's work is done by the default user.
if [ -z "${RUN_UID:-}" ] && [ "$(id -u)" != 0 ]; then RUN_UID=$(id -u); fi
if [ -z "${RUN_GID:-}" ] && [ "$(id -g)" != 0 ]; then RUN_GID=$(id -g); fi
run() { env UID="${RUN_UID:-1000}" GID="${RUN_GID:-1000}" "${compose[@]}" "$@"; }

echo "building the image (a minute or two the first time, seconds after that)"
log=$(mktemp); trap 'rm -f "$log"' EXIT
run build >"$log" 2>&1 || { tail -n 20 "$log" >&2; fail "the image must build, did not: see above"; }

# Why `up` failed, in one line: what preflight said, a port, or else the end of what Compose said.
explain() {
  local preflight said port
  preflight=$(run ps -a -q preflight 2>/dev/null || true)
  if [ -n "$preflight" ] && said=$(docker logs --since "$since" "$preflight" 2>&1 | grep '^error: '); then
    echo "$said" >&2
    exit "$(docker inspect -f '{{.State.ExitCode}}' "$preflight")"
  fi
  port=$(sed -nE '/already in use|already allocated/s/.*127\.0\.0\.1:([0-9]+).*/\1/p' "$log" | head -n 1)
  [ -z "$port" ] || fail "port $port must be free, something listens there: stop it, or set ML_SERVICE_PORT or PARAM_CONTROLLER_PORT"
  tail -n 5 "$log" >&2
  fail "the services must start, did not: make logs says more"
}

since=$(date +%s)
run up -d >"$log" 2>&1 || explain
runner=$(run ps -a -q backtest_runner)
docker logs --follow --since "$since" "$runner" 2>&1 \
  | sed -uE 's/^\{.*"message":"(([^"\\]|\\.)*)".*/\1/'
exit "$(docker wait "$runner")"
