#!/bin/sh
# What one shard of the job does: greets, works for a moment, and tells how far it is.
set -eu

echo "hello from shard $FLOCKWORK_SHARD of $FLOCKWORK_JOB (due $FLOCKWORK_FIRE, attempt $FLOCKWORK_ATTEMPT)"

# The context is the last argument: one line of JSON, in which the parameters stand.
for context; do :; done
echo "context: $context"

for step in 1 2 3; do
    sleep 0.5
    # Lines like this one add to the run's progress.
    echo "flockwork: processed rows=10 bytes=1024"
done

# What is written elsewhere should carry the epoch, and be refused where a greater one was seen.
echo "done under epoch $FLOCKWORK_EPOCH"
