#!/bin/sh
# A job that writes down what it knows of itself, when it starts and when it ends:
# probe.sh FILE SECONDS FAILS CONTEXT, where one run of FAILS fails (0: none does).
file=$1 seconds=$2 fails=$3
for context; do :; done

# Who is told to stop may lose the one who tells the time; then it is asked again.
say() {
    now=
    until [ -n "$now" ]; do now=$(date +%s%N); done
    printf '%s %s %s %s %s %s %s %s %s\n' "$1" "$now" "$$" "$FLOCKWORK_JOB" \
        "$FLOCKWORK_SHARD" "$FLOCKWORK_FIRE" "$FLOCKWORK_EPOCH" "$FLOCKWORK_ATTEMPT" "$context" \
        >> "$file"
}

trap 'trap "" TERM; say CANCELLED; exit 143' TERM
say START
sleep "$seconds" &
wait $!
trap '' TERM
if [ "$fails" -gt 0 ] && [ $((FLOCKWORK_EPOCH % fails)) -eq 0 ]; then
    say FAILED
    exit 3
fi
say OK
