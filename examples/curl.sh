#!/bin/sh
# Calls every endpoint of a server that was started with `powerinfer serve`.
# Usage: examples/curl.sh [URL]; a key is taken from POWERINFER_API_KEY.
set -eu
url=${1:-http://127.0.0.1:8081}

call() {
    printf '\n# %s\n' "$1"
    path=$1
    shift
    curl --silent --show-error --fail-with-body --no-buffer \
        -H "Authorization: Bearer ${POWERINFER_API_KEY:-none}" "$url$path" "$@"
    echo
}

post() {
    call "$1" -H 'Content-Type: application/json' -d "$2"
}

call /health
call /ready
call /version
call /v1/models
call /stats
call /metrics
call /openapi.json --output /dev/null --write-out '%{size_download} bytes'
post /v1/completions '{"prompt": "Once upon a time", "max_tokens": 16, "temperature": 0}'
post /v1/completions '{"prompt": "Once upon a time", "max_tokens": 8, "seed": 1,
    "stream": true, "stream_options": {"include_usage": true}}'
post /v1/embeddings '{"input": ["a cat", "a dog"], "encoding_format": "base64"}'
post /tokenize '{"content": "Once upon a time"}'
post /detokenize '{"tokens": [9, 10, 11]}'
# A model without a chat template refuses this one, and says so.
post /v1/chat/completions '{"messages": [{"role": "user", "content": "Tell me a story."}],
    "max_tokens": 16}' || true
