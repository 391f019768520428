#!/bin/sh
# Checks helm/chimera with the tools that are there: chartcheck (its path is the argument, which may
# be empty) and helm. Good values must pass, bad values must be refused by values.schema.json or by
# the templates. Exit code 77: neither tool is there.
set -euf
cd "$(dirname "$0")/../.."
chart=helm/chimera
chartcheck=${1:-}
bad=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT

fail() {
  echo "FAILED: $1"
  cat "$out"
  bad=1
}

# Each line is a set of arguments that the chart must accept.
good='
-f values.yaml
-f values-laptop.yaml
-f values-three-nodes.yaml
--set memory.enabled=false --set trainer.enabled=false --set networkPolicy.enabled=false
--set shutdown.preStopSeconds=0 --set surface.replicas=1 --set fullnameOverride=other
--set trainer.texts.existingClaim=texts --set image.pullSecrets[0]=registry --set knot.cpuRequest=100m
--set monitoring.serviceMonitor.enabled=true --set monitoring.namespaceSelector.matchLabels.team=watch
'
# And one that it must refuse.
refused='
--set nonsense=1
--set knot.replicas=2
--set knot.cpu=0
--set knot.cpu=1.5
--set knot.memory=lots
--set knot.finishSeconds=0
--set surface.replicas=0
--set surface.service.type=LoadBalancer
--set config.bind_address=127.0.0.1
--set config.ports.knot=80
--set config.ports.knot=7400
--set config.max_message_bytes=5000
--set config.drain_timeout_ms=-1
--set config.nonsense=1
--set config.trainer.data_root=/
--set image.tag=latest
--set image.digest=sha256:12
--set image.pullPolicy=Sometimes
--set scheduling.separateNodes=maybe
--set networkPolicy.dnsPeers=null
--set networkPolicy.enabled=perhaps
--set monitoring.serviceMonitor.interval=often
--set trainer.texts.existingClaim=Not_A_Name
'

# each TOOL-FUNCTION LINES: calls it once a line, with the line's words.
each() {
  function=$1
  while read -r words; do
    [ -z "$words" ] || "$function" $words
  done <<LINES
$(printf '%s\n' "$2" | sed "s|-f |-f $chart/|g")
LINES
}

chartcheck_accepts() {
  "$chartcheck" "$chart" "$@" >"$out" 2>&1 || fail "chartcheck finds errors with $*"
  ! grep -q '^warning ' "$out" || fail "chartcheck warns with $*"
}
# For the reason in question: nothing but the schema or a message of the templates.
chartcheck_refuses() {
  if "$chartcheck" "$chart" "$@" >"$out" 2>&1; then
    fail "nothing refuses $*"
  elif ! grep -q '^error values-schema \|^error render .*: config\.' "$out"; then
    fail "refused for another reason: $*"
  fi
}
helm_accepts() {
  helm lint --strict "$chart" "$@" >"$out" 2>&1 || fail "helm lint finds errors with $*"
  helm template release "$chart" --kube-version 1.30.0 "$@" >"$out" 2>&1 || fail "helm template fails with $*"
}
helm_refuses() {
  ! helm template release "$chart" --kube-version 1.30.0 "$@" >"$out" 2>&1 || fail "helm accepts $*"
}

ran=
if [ -n "$chartcheck" ]; then
  ran=chartcheck
  each chartcheck_accepts "$good"
  each chartcheck_refuses "$refused"
fi
if command -v helm >/dev/null 2>&1; then
  ran="$ran helm"
  each helm_accepts "$good"
  each helm_refuses "$refused"
fi
if [ -z "$ran" ]; then
  echo "skipped: neither chartcheck (CHIMERA_CHARTCHECK) nor helm is there"
  exit 77
fi
echo "checked with: $ran"
exit "$bad"
