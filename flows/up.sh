#!/usr/bin/env bash
# A Prefect server and a worker for this folder, both on 127.0.0.1 and both in the background.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p runs/prefect
export PREFECT_HOME="$PWD/.prefect" MGRAL_ROOT="$PWD" DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false
export PREFECT_API_URL=http://127.0.0.1:4200/api

bash flows/down.sh > /dev/null
start() { # NAME COMMAND…: in the background, its output in runs/prefect/NAME.log, its process in NAME.pid
  local name=$1; shift
  setsid "$@" > "runs/prefect/$name.log" 2>&1 < /dev/null &
  echo $! > "runs/prefect/$name.pid"
}

start server prefect server start --host 127.0.0.1 --port 4200
for attempt in $(seq 120); do
  python -c 'import urllib.request as u; u.urlopen("http://127.0.0.1:4200/api/health", timeout=2)' 2> /dev/null && break
  kill -0 "$(cat runs/prefect/server.pid)" 2> /dev/null || { tail -5 runs/prefect/server.log; exit 1; }
  [ "$attempt" = 120 ] && { echo "The server did not answer within two minutes: see runs/prefect/server.log"; exit 1; }
  sleep 1
done
prefect work-pool create mgral --type process --overwrite > /dev/null
prefect --no-prompt deploy --all > runs/prefect/deploy.log 2>&1 || { cat runs/prefect/deploy.log; exit 1; }
start worker prefect worker start --pool mgral --type process --limit 1

cat <<'END'
Prefect is up: http://127.0.0.1:4200 (logs in runs/prefect/; `make down` stops it).
Run a cycle:      prefect deployment run 'cycle/local' --param cycle=1 --watch
Run everything:   prefect deployment run 'study/local' --watch
END
