# Shared by tools/build, tools/demo and tools/test: steps with one plain line each, details in build/logs.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$root/build
logs=$build/logs
mkdir -p "$logs"
cd "$root"

fail() {
  printf '%s\n' "$@" >&2
  exit 1
}

# Shows the progress count of the build that writes this log, for somebody who is watching.
watch_progress() {
  while sleep 1 && kill -0 $$ 2>/dev/null; do
    printf '\r\033[K  %s' "$(grep -aoE '^\[[0-9]+/[0-9]+\] .*' "$1" 2>/dev/null | tail -n 1 | cut -c1-"$((${COLUMNS:-80} - 4))")"
  done
}

# The lines of a log that say what went wrong, else its end.
excerpt() {
  if sed -n 's/.*ConanException: \(Debian packages are missing.*\)/\1/p' "$1" | grep .; then return; fi
  grep -aE -A4 '(^FAILED|error:|ERROR|CMake Error)' "$1" | grep -avE '^(/usr/bin/(cmake -E env|c\+\+)|--$)' | cut -c1-240 | head -n 60 ||
    tail -n 30 "$1"
}

# step <log name> <what it does> <command>…: runs the command; when it fails, shows why and stops.
# Errors inside a function are not noticed here by themselves: chain its commands with &&.
step() {
  local log=$logs/$1.log what=$2 start=$SECONDS status=0
  shift 2
  printf '%s …\n' "$what"
  local watcher=
  if [[ -t 1 ]]; then
    watch_progress "$log" &
    watcher=$!
  fi
  "$@" >"$log" 2>&1 || status=$?
  if [[ $watcher ]]; then
    kill "$watcher"
    wait "$watcher" 2>/dev/null || true
    printf '\r\033[K'
  fi
  if ((status != 0)); then
    excerpt "$log" >&2
    fail "" "Failed: $what (exit status $status). The whole log: $log"
  fi
  printf '  done in %s s\n' "$((SECONDS - start))"
}
