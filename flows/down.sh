#!/usr/bin/env bash
# Stops what up.sh started.
cd "$(dirname "$0")/.." || exit 1
for name in worker server; do
  pid=$(cat "runs/prefect/$name.pid" 2> /dev/null) || continue
  kill -TERM -- "-$pid" 2> /dev/null && echo "Stopping Prefect's $name."
  for _ in $(seq 50); do kill -0 -- "-$pid" 2> /dev/null || break; sleep 0.2; done
  kill -KILL -- "-$pid" 2> /dev/null
  rm -f "runs/prefect/$name.pid"
done
exit 0
