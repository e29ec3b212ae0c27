# What build.sh and cluster.sh share: where the programs of the test cluster are kept, and under which key.
# Sourced, never run.
# shellcheck shell=bash

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${QUELL_CLUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/quell-cluster}

# Each component is a Go module of ours that pins what it builds.
# shellcheck disable=SC2034 # both scripts read it
COMPONENTS=(probe kubernetes etcd kube-router)

module_dir() {
  case $1 in
    probe) echo "$HERE/probe" ;;
    *) echo "$HERE/modules/$1" ;;
  esac
}

# A component's directory in the cache is named after the contents of its module, so that a moved pin is built anew
# and an old checkout still finds its own programs.
component_dir() { # NAME [CACHE]
  local module
  module=$(module_dir "$1")
  printf '%s/%s-%s\n' "${2:-$CACHE}" "$1" "$(cd "$module" && cat -- * | sha256sum | cut -c1-12)"
}

die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}
