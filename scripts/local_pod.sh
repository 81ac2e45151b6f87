#!/usr/bin/env bash
# Tries a run of several processes on one machine: N processes with M devices of the CPU each.
#
#     scripts/local_pod.sh 2 4 --config=configs/quickstart.py --workdir=runs/pod
#     scripts/local_pod.sh 2 4 eval.py --workdir=runs/pod
#
# The script is train.py if none is named. Every line says which process it is of. Signals are
# passed on to all; the exit code is that of the first process that fails.
set -u -m # each process in a group of its own: Ctrl-C reaches it once, through this script
if [[ ! ${1:-} =~ ^[1-9][0-9]*$ || ! ${2:-} =~ ^[1-9][0-9]*$ ]]; then
  sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
processes=$1 devices=$2
shift 2
script=train.py
if [[ ${1:-} == [!-]*.py ]]; then
  script=$1
  shift
fi
python=${PYTHON:-python}
cd "$(dirname "$0")/.." || exit 2
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
export JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES=$devices PYTHONUNBUFFERED=1

pids=()
for ((i = 0; i < processes; i++)); do
  "$python" "$script" "$@" --coordinator="127.0.0.1:$port" --processes="$processes" --process="$i" \
    > >(sed -u "s/^/$i | /") 2> >(sed -u "s/^/$i | /" >&2) &
  pids+=($!)
done
for signal in INT TERM; do
  trap 'kill -s '"$signal"' "${pids[@]}" 2> /dev/null' "$signal"
done

code=0
for pid in "${pids[@]}"; do
  while :; do
    wait "$pid"
    ended=$?
    kill -0 "$pid" 2> /dev/null || break # a signal ends `wait`, not the process
  done
  ((code)) || code=$ended
done
wait # for the last lines
exit "$code"
