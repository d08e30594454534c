#!/usr/bin/env bash
# Starts a real server on the demo district and asks it with stock grpcio, whose stubs are generated from proto/ here,
# and with the stock Ed-Fi client.
set -Eeuo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
tools=$root/target/ci/python
work=$(mktemp -d)
server=
cleanup() {
    [ -z "$server" ] || { kill -TERM "$server" 2>/dev/null; wait "$server" 2>/dev/null || true; }
    rm -rf "$work"
}
trap cleanup EXIT

hallpass=${HALLPASS:-$root/target/debug/hallpass}
[ -x "$hallpass" ] || (cd "$root" && cargo build --bin hallpass)

# The stubs: made by the stock compiler, from the proto files as they are.
if ! PYTHONPATH=$tools python3 -c 'import grpc, grpc_tools, edfi_api_client' 2>/dev/null; then
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --target "$tools" \
        --upgrade 'grpcio>=1.66,<2' 'grpcio-tools>=1.66,<2' 'edfi-api-client==0.4.1'
fi
export PYTHONPATH=$tools:$work/stubs
mkdir -p "$work/stubs"
python3 -m grpc_tools.protoc -I "$root/proto" --python_out="$work/stubs" --grpc_python_out="$work/stubs" \
    "$root"/proto/hallpass/v1/*.proto

# A service with one issuer whose key is made now.
"$hallpass" token issue --key "$work/issuer.pem" --issuer https://idp.example --claim client_id=maple-sis \
    --claim scope=SISVendor --claim educationOrganizationIds=101 --expires-in 10m >"$work/token"
cat >"$work/hallpass.toml" <<EOF
data_dir = "data"
grpc_address = "127.0.0.1:0"
http_address = "127.0.0.1:0"
[realms.edfi]
folder = "$root/policies/edfi"
[[realms.edfi.issuers]]
issuer = "https://idp.example"
audiences = []
algorithms = ["EdDSA"]
keys = { file = "issuer.jwks.json" }
EOF
"$hallpass" serve --config "$work/hallpass.toml" >"$work/out" 2>"$work/err" &
server=$!
for _ in $(seq 100); do
    address=$(sed -n '1s/^listening on //p' "$work/out")
    url=$(sed -n '2s/^listening on //p' "$work/out")
    [ -n "$address" ] && [ -n "$url" ] && break
    kill -0 "$server" 2>/dev/null || { cat "$work/err" >&2; exit 1; }
    sleep 0.1
done
[ -n "$address" ] && [ -n "$url" ] || { echo "the server did not start" >&2; cat "$work/err" >&2; exit 1; }

python3 "$here/ask.py" "$address" "$work/token" "$work/data/admin.token" "$root/examples/district"
no_proxy=127.0.0.1 python3 "$here/token_info.py" "$address" "$url"
