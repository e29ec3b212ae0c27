#!/usr/bin/env bash
# Builds what the test cluster runs, from Go modules pinned under modules/: the Kubernetes control plane, kubelet,
# kube-proxy and kubectl, etcd, kube-router, and the probe that the test images are made of.
#
#   build.sh [--kwok] [CACHE]
#
# What is already in the cache is kept; from nothing it takes about ten minutes on two cores and 4 GB of disk, most of
# it Go's build cache. CACHE defaults to $QUELL_CLUSTER_CACHE, then ~/.cache/quell-cluster. --kwok adds KWOK, which
# `cluster.sh fake-nodes` needs.
set -euo pipefail
# shellcheck source=tests/cluster/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

while [ $# -gt 0 ]; do
  case $1 in
    --kwok) COMPONENTS+=(kwok) ;;
    -*) sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
    *) CACHE=$1 ;;
  esac
  shift
done

# The programs of a component, as `NAME PACKAGE` lines: its module's tools.
programs() { # COMPONENT
  case $1 in
    probe) echo "probe ." ;;
    etcd) echo "etcd go.etcd.io/etcd/server/v3" ;; # its package path does not end in its name
    *) (cd "$(module_dir "$1")" && go list tool) | awk -F/ '{print $NF, $0}' ;;
  esac
}

require_go() {
  command -v go >/dev/null || die "go is not installed (or not on PATH); the test cluster is built from Go modules"
  local have need
  have=$(cd / && go env GOVERSION | sed 's/^go//; s/[- ].*//')
  need=$(for c in "${COMPONENTS[@]}"; do sed -n 's/^go //p' "$(module_dir "$c")/go.mod"; done | sort -V | tail -n 1)
  [ "$(printf '%s\n%s\n' "$need" "$have" | sort -V | head -n 1)" = "$need" ] && return
  # From 1.21 on, go fetches a newer toolchain for itself unless it is told to stay local.
  case $have:$(go env GOTOOLCHAIN 2>/dev/null) in
    1.[0-9]:* | 1.1[0-9]:* | 1.20*:* | *:local) die "go $have is too old: the test cluster needs go $need or newer" ;;
  esac
}

build() { # COMPONENT
  local dir=$1 name package begin=$SECONDS
  dir=$(component_dir "$1" "$CACHE")
  if [ -d "$dir" ]; then
    echo "$1: already built"
    return
  fi
  local ldflags="-s -w" version
  if [ "$1" = kubernetes ]; then
    # The API server refuses to start without a version that it can parse.
    version=$(sed -n 's/.*k8s.io\/kubernetes \(v[0-9.]*\).*/\1/p' "$(module_dir kubernetes)/go.mod")
    local at=k8s.io/component-base/version.git minor=${version#*.}
    ldflags+=" -X ${at}Version=$version -X ${at}Major=1 -X ${at}Minor=${minor%%.*}"
  fi
  rm -rf "$dir.part"
  mkdir -p "$dir.part"
  local -A package_of=()
  while read -r name package; do package_of[$name]=$package; done < <(programs "$1")
  [ ${#package_of[@]} -gt 0 ] || die "$1: its module names no program"
  cd "$(module_dir "$1")"
  local flags=(-trimpath -buildvcs=false -mod=readonly -ldflags "$ldflags")
  if [ ${#package_of[@]} = 1 ]; then
    name=${!package_of[*]}
    go build "${flags[@]}" -o "$dir.part/$name" "${package_of[$name]}"
  else
    go build "${flags[@]}" -o "$dir.part/" "${package_of[@]}" # all at once, so that no core waits for a link
  fi
  mv "$dir.part" "$dir"
  echo "$1: built in $((SECONDS - begin)) s"
}

require_go
export CGO_ENABLED=0 GOFLAGS='' GOWORK=off
mkdir -p "$CACHE"
exec 9>"$CACHE/.lock"
flock -n 9 || { echo "another build is running; waiting for it"; flock 9; }
for component in "${COMPONENTS[@]}"; do build "$component"; done
