#!/usr/bin/env bash
# A real Kubernetes cluster on this machine: a control plane and two nodes with containerd, kube-proxy and an enforcer
# of NetworkPolicy, each a "machine" of its own made of namespaces. Needs root, and `build.sh` to have run.
#
#   cluster.sh up                      bring it up, or say that it is up
#   cluster.sh down                    take it down; only the logs stay
#   cluster.sh status                  what runs; exits 0 only if all of it does
#   cluster.sh env                     the variables a client needs, for `eval`
#   cluster.sh in COMMAND…             run a client in the cluster's network
#   cluster.sh kubectl ARGUMENTS…      kubectl, as administrator
#   cluster.sh user NAME [GROUP…]      a kubeconfig for a user with no rights but its groups'; prints its path
#   cluster.sh node N COMMAND…         run a command on node N, in all of its namespaces
#   cluster.sh load-collector BINARY   put quell-collector into an image on every node; prints the image's reference
#   cluster.sh targets NAMESPACE       create the namespace and manifests/ in it; wait until all of it is ready
#   cluster.sh router-stop             nothing enforces NetworkPolicy any more, and no rule of it is left
#   cluster.sh router-start            enforce it again
#   cluster.sh fake-nodes N            N nodes that only pretend (needs build.sh --kwok)
#
# QUELL_CLUSTER_DIR (/tmp/quell-cluster) holds the cluster's state, QUELL_CLUSTER_NETNS (quell) names its network
# namespace; with another of each, a second cluster runs beside the first. Programs come from QUELL_CLUSTER_CACHE.
# shellcheck disable=SC2317 # `await` and `not` run the functions that they are given
set -euo pipefail
# shellcheck source=tests/cluster/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

SELF=$HERE/cluster.sh
RUN=${QUELL_CLUSTER_DIR:-/tmp/quell-cluster}
NAME=${QUELL_CLUSTER_NETNS:-quell}
LOG=$RUN/log
PKI=$RUN/pki
CONTROL_IP=10.99.0.100
CLUSTER_CIDR=10.244.0.0/16
SERVICE_CIDR=10.96.0.0/16
NODES=(1 2)
OWNER=/run/quell-cluster.$NAME # which run directory this name belongs to

for component in "${COMPONENTS[@]}" kwok; do PATH=$(component_dir "$component"):$PATH; done
export PATH=$PATH:/usr/sbin:/sbin

node_ip() { echo "10.99.0.$1"; }
say() { printf '%s\n' "$*" >&2; }

# ---------------------------------------------------------------------------------------------------------------------
# Waiting

# await SECONDS WHAT LOG COMMAND…: until COMMAND succeeds; past the deadline, shows the end of the log that matters.
await() {
  local seconds=$1 what=$2 log=$3 deadline
  shift 3
  deadline=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    if [ $SECONDS -ge $deadline ]; then
      say "gave up after $seconds s: $what"
      [ -z "$log" ] || { say "the end of $log:"; tail -n 30 "$log" >&2 || true; }
      return 1
    fi
    sleep 0.1
  done
}

not() { ! "$@"; }

# ---------------------------------------------------------------------------------------------------------------------
# Machines. One is a process that holds a network, mount, PID and UTS namespace. When that process is killed the kernel
# ends everything in it and undoes its mounts, whatever state it was in.

# What a node's programs expect at fixed places, bound to the machine's own directory.
PRIVATE=(/etc/cni/net.d /run/containerd /run/netns /var/lib/cni /var/lib/containerd /var/lib/kubelet /var/log/containers /var/log/pods)

# `PID START` of the machine's first process; the start time tells it from a later process with the same number.
machine_identity() { # PID
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  # shellcheck disable=SC2086 # the fields are wanted; the command's name, in parentheses, may hold spaces
  set -- $1 ${stat##*) }
  echo "$1 ${21}"
}

machine_pid() { # MACHINE: of its first process, as long as it lives
  local pid start
  { read -r pid start <"$RUN/$1/init"; } 2>/dev/null || return 1
  [ "$(machine_identity "$pid")" = "$pid $start" ] && echo "$pid"
}

machine_start() { # MACHINE
  local machine=$1 holder init
  mkdir -p "$RUN/$machine"
  for d in "${PRIVATE[@]}"; do mkdir -p "$d" "$RUN/$machine$d"; done
  setsid unshare --net --mount --uts --pid --fork --kill-child --mount-proc --propagation private \
    env -i PATH="$PATH" HOME=/root QUELL_CLUSTER_DIR="$RUN" QUELL_CLUSTER_NETNS="$NAME" \
    bash "$SELF" machine-init "$machine" >"$LOG/$machine.log" 2>&1 </dev/null 9>&- &
  holder=$!
  disown
  await 10 "$machine has not started" "$LOG/$machine.log" test -e "$RUN/$machine/started"
  init=$(grep -l "^PPid:[[:space:]]*$holder\$" /proc/[0-9]*/status 2>/dev/null | head -n 1 | cut -d/ -f3) || true
  machine_identity "${init:-none}" >"$RUN/$machine/init" || die "$machine did not survive its start; see $LOG/$machine.log"
  ip netns attach "$(netns "$machine")" "$init"
}

# The machine's first process: sets up what only it sees, then reaps orphans for ever.
machine_init() { # MACHINE
  cd /
  hostname "$1"
  mount --make-rshared /
  for d in "${PRIVATE[@]}"; do mount --bind "$RUN/$1$d" "$d"; done
  ip link set lo up
  touch "$RUN/$1/started"
  while :; do
    sleep infinity &
    wait $!
  done
}

netns() { # MACHINE
  case $1 in
    control) echo "$NAME" ;; # where clients enter
    *) echo "$NAME-$1" ;;
  esac
}

enter() { # MACHINE COMMAND…
  local pid
  pid=$(machine_pid "$1") || die "the cluster is not up (no machine $1); bring it up with: cluster.sh up"
  shift
  nsenter --target "$pid" --net --mount --uts --pid -- "$@"
}

inside() {
  [ -e "/run/netns/$NAME" ] || die "the cluster is not up; bring it up with: cluster.sh up"
  # `ip netns exec` would mount a /sys without the cgroups
  nsenter --net="/run/netns/$NAME" -- "$@"
}

kc() { inside kubectl --kubeconfig "$RUN/admin.kubeconfig" "$@"; }

# spawn MACHINE NAME COMMAND…: a daemon in the machine, its PID there in RUN/MACHINE/NAME.pid and its output in the log.
spawn() {
  local machine=$1 name=$2 pid
  pid=$(machine_pid "$machine")
  shift 2
  # shellcheck disable=SC2016 # expanded by the inner shell
  setsid nsenter --target "$pid" --net --mount --uts --pid -- env -i PATH="$PATH" HOME=/root \
    bash -c 'echo $$ >"$0"; exec "$@"' "$RUN/$machine/$name.pid" "$@" >>"$(log_of "$machine" "$name")" 2>&1 </dev/null 9>&- &
  disown
}

log_of() { # MACHINE NAME
  case $1 in
    control) echo "$LOG/$2.log" ;;
    *) echo "$LOG/$1-$2.log" ;;
  esac
}

running() { # MACHINE NAME
  local pid
  { read -r pid <"$RUN/$1/$2.pid"; } 2>/dev/null && enter "$1" test -d "/proc/$pid"
}

# ---------------------------------------------------------------------------------------------------------------------
# Before the start

install_packages() {
  local missing=() command package
  while read -r command package; do
    [ -n "$(command -v "$command")" ] || missing+=("$package")
  done <<'LIST'
containerd containerd
ctr containerd
runc runc
/usr/lib/cni/bridge containernetworking-plugins
/bin/busybox busybox-static
iptables iptables
ipset ipset
conntrack conntrack
nft nftables
ip iproute2
nsenter util-linux
hostname hostname
openssl openssl
python3 python3
LIST
  # a busybox that needs libraries is of no use in an image
  [ ! -x /bin/busybox ] || ! ldd /bin/busybox >/dev/null 2>&1 || missing+=(busybox-static)
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "these Debian packages are needed: ${missing[*]}"
  say "installing ${missing[*]}"
  {
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"
  } >"$LOG/packages.log" 2>&1 || { tail -n 20 "$LOG/packages.log" >&2; die "cannot install ${missing[*]}"; }
}

certificate() { # NAME SUBJECT SUBJECT-ALTERNATIVE-NAMES
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$PKI/$1.key" -out "$PKI/$1.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -CAcreateserial -days 30 -out "$PKI/$1.crt" \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$3") 2>/dev/null
}

# A client certificate and a kubeconfig that holds all it needs, so that it can be copied anywhere.
client() { # NAME SUBJECT
  certificate "$1" "$2" "DNS:client.invalid"
  # shellcheck disable=SC2002
  cat >"$RUN/$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters:
  - name: quell-test
    cluster:
      server: https://$CONTROL_IP:6443
      certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")
users:
  - name: $1
    user:
      client-certificate-data: $(base64 -w0 "$PKI/$1.crt")
      client-key-data: $(base64 -w0 "$PKI/$1.key")
contexts:
  - name: quell-test
    context: {cluster: quell-test, user: $1}
current-context: quell-test
YAML
  chmod 600 "$RUN/$1.kubeconfig"
}

credentials() {
  mkdir -p "$PKI"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$PKI/ca.key" -out "$PKI/ca.crt" \
    -days 30 -subj /CN=quell-test-ca 2>/dev/null
  openssl ecparam -name prime256v1 -genkey -noout -out "$PKI/service-accounts.key"
  openssl ec -in "$PKI/service-accounts.key" -pubout -out "$PKI/service-accounts.pub" 2>/dev/null
  certificate apiserver /CN=kube-apiserver \
    "IP:$CONTROL_IP,IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
  certificate kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client DNS:client.invalid
  client admin /O=system:masters/CN=admin
  client controller-manager /CN=system:kube-controller-manager
  client scheduler /CN=system:kube-scheduler
  client kube-proxy /CN=system:kube-proxy
  client kube-router /O=system:masters/CN=kube-router
  for n in "${NODES[@]}"; do
    client "node-$n" "/O=system:nodes/CN=system:node:node-$n"
    certificate "kubelet-$n" "/O=system:nodes/CN=system:node:node-$n" "IP:$(node_ip "$n"),DNS:node-$n"
  done
}

# Nothing leaves this network: it has no route to anything else, and says so at once.
network() {
  ip -n "$NAME" link add name machines type bridge
  ip -n "$NAME" addr add "$CONTROL_IP/24" dev machines
  ip -n "$NAME" link set machines up
  ip -n "$NAME" route add unreachable default
  inside sysctl -qw net.ipv4.ip_forward=1
  local n other of
  for n in "${NODES[@]}"; do
    of=$(netns "node-$n")
    ip link add name "node-$n" netns "$NAME" type veth peer name eth0 netns "$of"
    ip -n "$NAME" link set "node-$n" master machines up
    ip -n "$of" addr add "$(node_ip "$n")/24" dev eth0
    ip -n "$of" link set eth0 up
    ip -n "$of" route add default via "$CONTROL_IP"
    ip -n "$NAME" route add "10.244.$n.0/24" via "$(node_ip "$n")"
    for other in "${NODES[@]}"; do
      [ "$other" = "$n" ] || ip -n "$of" route add "10.244.$other.0/24" via "$(node_ip "$other")"
    done
    # bridged packets must pass the firewall too, or pods of one node could always reach each other
    enter "node-$n" sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
  done
  ip -n "$NAME" route add "$SERVICE_CIDR" via "$(node_ip 1)" # for clients; node 1's kube-proxy takes it from there
}

# ---------------------------------------------------------------------------------------------------------------------
# The parts

start_etcd() {
  spawn control etcd etcd --data-dir "$RUN/control/etcd" --log-level warn --unsafe-no-fsync \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380
}

start_apiserver() {
  cp "$HERE/audit-policy.yaml" "$RUN/control/"
  spawn control apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 \
    --bind-address=0.0.0.0 --advertise-address="$CONTROL_IP" --secure-port=6443 \
    --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" --client-ca-file="$PKI/ca.crt" \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$PKI/service-accounts.pub" \
    --service-account-signing-key-file="$PKI/service-accounts.key" --service-cluster-ip-range="$SERVICE_CIDR" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-client-certificate="$PKI/kubelet-client.crt" \
    --kubelet-client-key="$PKI/kubelet-client.key" --kubelet-preferred-address-types=InternalIP \
    --audit-policy-file="$RUN/control/audit-policy.yaml" --audit-log-path="$LOG/audit.log" --audit-log-maxsize=500
}

start_controllers() {
  local one
  for one in controller-manager scheduler; do
    local flags=(--kubeconfig="$RUN/$one.kubeconfig" --authentication-kubeconfig="$RUN/$one.kubeconfig"
      --authorization-kubeconfig="$RUN/$one.kubeconfig" --leader-elect=false)
    [ $one = scheduler ] || flags+=(--service-account-private-key-file="$PKI/service-accounts.key"
      --root-ca-file="$PKI/ca.crt" --use-service-account-credentials
      --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key")
    spawn control $one kube-$one "${flags[@]}"
  done
}

start_containerd() { # N
  local machine=node-$1
  cat >"$RUN/$machine/containerd.toml" <<TOML
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "quell.test/pause:1"
  # a sandbox may lack CAP_SYS_RESOURCE, and then cannot protect anything from the OOM killer
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
TOML
  cat >"$RUN/$machine/etc/cni/net.d/10-pods.conflist" <<JSON
{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
      "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.$1.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
JSON
  spawn "$machine" containerd containerd -c "$RUN/$machine/containerd.toml"
}

# The image store of node N. Its socket lies in the machine's own directory, so no namespace needs to be entered.
images() { # N ARGUMENTS…
  local n=$1
  shift
  ctr -a "$RUN/node-$n/run/containerd/containerd.sock" -n k8s.io images "$@"
}

import_targets() { # N
  local archive
  await 30 "containerd of node-$1 does not answer" "$(log_of "node-$1" containerd)" images "$1" ls
  for archive in "$RUN"/images/{pause,busybox,distroless}.tar; do images "$1" import "$archive" >/dev/null; done
}

start_kubelet() { # N
  local machine=node-$1
  cat >"$RUN/$machine/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet-$1.crt
tlsPrivateKeyFile: $PKI/kubelet-$1.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
# There is no DNS service: this address refuses at once.
clusterDNS: [$CONTROL_IP]
clusterDomain: cluster.local
syncFrequency: 10s
# The machines share the cgroups of the host, which may be of version 1 and may lack controllers.
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
# The host's disk is not the node's business.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 50Mi, nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
YAML
  spawn "$machine" kubelet kubelet --config="$RUN/$machine/kubelet.yaml" --kubeconfig="$RUN/$machine.kubeconfig" \
    --hostname-override="$machine" --node-ip="$(node_ip "$1")"
}

start_proxy() { # N
  # connection tracking belongs to the host, which a sandbox may not tune
  spawn "node-$1" kube-proxy kube-proxy --kubeconfig="$RUN/kube-proxy.kubeconfig" --hostname-override="node-$1" \
    --proxy-mode=iptables --cluster-cidr="$CLUSTER_CIDR" --conntrack-max-per-core=0 \
    --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0
}

start_router() { # N
  spawn "node-$1" kube-router kube-router --run-firewall=true --run-router=false --run-service-proxy=false \
    --kubeconfig="$RUN/kube-router.kubeconfig" --hostname-override="node-$1" --metrics-port=8081
}

enforces() { # N
  enter "node-$1" bash -c 'iptables -S FORWARD | grep -q KUBE-ROUTER'
}

# ---------------------------------------------------------------------------------------------------------------------
# Commands

PARTS=(control:etcd control:apiserver control:controller-manager control:scheduler)
for n in "${NODES[@]}"; do PARTS+=("node-$n:containerd" "node-$n:kubelet" "node-$n:kube-proxy" "node-$n:kube-router"); done

all_running() {
  local part
  for part in "${PARTS[@]}"; do running "${part%:*}" "${part#*:}" || return; done
}

nodes_ready() {
  local n
  for n in "${NODES[@]}"; do
    [ "$(kc get node "node-$n" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}')" = True ] || return
  done
}

is_up() { [ -e "$RUN/ready" ] && all_running && nodes_ready; }

up() {
  [ "$(id -u)" = 0 ] || die "needs root"
  [[ $RUN = /* && ${#RUN} -le 60 ]] || die "QUELL_CLUSTER_DIR must be an absolute path of at most 60 characters"
  mkdir -p "$LOG"
  exec 9>"$RUN/lock"
  flock 9
  if (is_up) 2>/dev/null; then
    say "the cluster is already up in $RUN"
    return
  fi
  local owner begin=$SECONDS component
  owner=$(cat "$OWNER" 2>/dev/null) || true
  if [ -n "$owner" ] && [ "$owner" != "$RUN" ] && (RUN=$owner machine_pid control >/dev/null); then
    die "the name $NAME is taken by the cluster in $owner; choose another with QUELL_CLUSTER_NETNS"
  fi
  for component in "${COMPONENTS[@]}"; do
    [ -d "$(component_dir "$component")" ] || die "$component is not built; run $HERE/build.sh first"
  done
  tear_down
  rm -f "$LOG"/*.log
  install_packages
  echo "$RUN" >"$OWNER"
  trap 'say "the cluster did not come up; logs are in $LOG"; tear_down' EXIT

  machine_start control
  for n in "${NODES[@]}"; do machine_start "node-$n"; done
  network
  start_etcd
  for n in "${NODES[@]}"; do start_containerd "$n"; done
  credentials
  start_apiserver
  mkdir -p "$RUN/images"
  python3 "$HERE/images.py" targets "$RUN/images" "$(command -v probe)" /bin/busybox >"$RUN/images/digests"
  for n in "${NODES[@]}"; do import_targets "$n"; done
  await 60 "the API server is not ready" "$LOG/apiserver.log" kc get --raw /readyz
  start_controllers
  for n in "${NODES[@]}"; do
    start_kubelet "$n"
    start_proxy "$n"
  done
  for n in "${NODES[@]}"; do
    await 60 "node-$n does not register" "$(log_of "node-$n" kubelet)" kc get node "node-$n"
    start_router "$n" # it ends when it finds no node of its name
  done
  for n in "${NODES[@]}"; do
    await 60 "kube-router does not enforce anything on node-$n" "$(log_of "node-$n" kube-router)" enforces "$n"
    await 60 "node-$n does not reach the service address of the API server" "$(log_of "node-$n" kube-proxy)" \
      enter "node-$n" probe dial 10.96.0.1:443
  done
  await 60 "the nodes are not ready" "$(log_of node-1 kubelet)" nodes_ready
  await 60 "there is no default service account" "$LOG/controller-manager.log" kc get serviceaccount default

  echo "/run/netns/$NAME" >"$RUN/netns"
  touch "$RUN/ready"
  trap - EXIT
  say "the cluster is up after $((SECONDS - begin)) s; kubeconfig: $RUN/admin.kubeconfig, in network namespace $NAME"
}

# Ends whatever there is of the cluster, also of one that came up only half. The kernel does most of it.
tear_down() {
  local machine containers pid
  rm -f "$RUN/ready"
  for machine in control "${NODES[@]/#/node-}"; do
    # its containers' cgroups are all that outlives a machine's processes and mounts
    containers=$(ls "$RUN/$machine/run/containerd/io.containerd.runtime.v2.task/k8s.io" 2>/dev/null) || true
    if pid=$(machine_pid "$machine"); then
      kill -9 "$pid"
      await 30 "the processes of $machine do not end" "" not machine_pid "$machine" || true
    fi
    [ ! -e "/run/netns/$(netns "$machine")" ] || ip netns del "$(netns "$machine")"
    # shellcheck disable=SC2086 # one word for each container
    await 10 "cgroups of $machine stay" "" remove_cgroups $containers || true
    rm -rf "${RUN:?}/$machine"
  done
  rmdir /sys/fs/cgroup/k8s.io /sys/fs/cgroup/*/k8s.io 2>/dev/null || true # only where nothing else is left
  rm -rf "$PKI" "$RUN/images" "$RUN/netns" "$RUN"/*.kubeconfig "$RUN"/collector.*
  rm -f "$OWNER"
}

remove_cgroups() { # CONTAINER…
  local container hierarchy
  for container in "$@"; do
    for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
      [ ! -d "$hierarchy/k8s.io/$container" ] || rmdir "$hierarchy/k8s.io/$container" || return
    done
  done
}

down() {
  [ -d "$RUN" ] || return 0
  exec 9>"$RUN/lock"
  flock 9
  tear_down
  say "the cluster is down; logs stay in $LOG"
}

status() {
  local part bad=0
  for part in "${PARTS[@]}"; do
    if (running "${part%:*}" "${part#*:}") 2>/dev/null; then
      echo "${part/:/ } runs"
    else
      echo "${part/:/ } does not run"
      bad=1
    fi
  done
  if (nodes_ready) 2>/dev/null; then
    echo "all nodes are ready"
  else
    echo "not all nodes are ready"
    bad=1
  fi
  return "$bad"
}

show_env() {
  cat <<ENV
export QUELL_TEST_CLUSTER=$RUN
export KUBECONFIG=$RUN/admin.kubeconfig
export PATH=$(component_dir kubernetes):\$PATH
ENV
}

user() { # NAME [GROUP…]
  local name=$1 subject='' group
  shift
  [ -e "$RUN/ready" ] || die "the cluster is not up"
  [[ $name =~ ^[a-z0-9][a-z0-9.-]*$ && ! -e $RUN/$name.kubeconfig ]] || die "$name: not a new user's name"
  for group in "$@"; do subject+=/O=$group; done
  client "$name" "$subject/CN=$name"
  echo "$RUN/$name.kubeconfig"
}

load_collector() { # BINARY
  local name digest
  [ -x "$1" ] || die "$1 is not a program"
  [ -e "$RUN/ready" ] || die "the cluster is not up"
  read -r name digest < <(python3 "$HERE/images.py" collector "$RUN/images/collector.tar" "$1")
  for n in "${NODES[@]}"; do
    images "$n" import "$RUN/images/collector.tar" >/dev/null
    images "$n" tag --force "$name" "${name%:*}@$digest" >/dev/null
  done
  echo "${name%:*}@$digest" | tee "$RUN/collector.image"
}

targets() { # NAMESPACE
  kc get namespace "$1" >/dev/null 2>&1 || kc create namespace "$1" >/dev/null
  # pods are refused until their namespace has its service account
  await 30 "namespace $1 has no service account" "$LOG/controller-manager.log" kc -n "$1" get serviceaccount default
  kc -n "$1" apply -f "$HERE/manifests"
  kc -n "$1" rollout status deployment,statefulset --timeout=60s
  kc -n "$1" wait --for=jsonpath='{.status.containerStatuses[?(@.name=="flaky")].restartCount}'=1 pod/many --timeout=60s
  kc -n "$1" wait --for=condition=Ready pod --all --timeout=60s
}

router_stop() {
  local n pid
  for n in "${NODES[@]}"; do
    if running "node-$n" kube-router; then
      pid=$(cat "$RUN/node-$n/kube-router.pid")
      enter "node-$n" kill -9 "$pid"
      await 10 "kube-router on node-$n does not end" "" not running "node-$n" kube-router
    fi
    # it would leave its last rules in force
    enter "node-$n" kube-router --cleanup-config >>"$(log_of "node-$n" kube-router)" 2>&1 || true
    await 10 "rules of kube-router stay on node-$n" "$(log_of "node-$n" kube-router)" not enforces "$n"
  done
}

router_start() {
  local n
  for n in "${NODES[@]}"; do running "node-$n" kube-router || start_router "$n"; done
  for n in "${NODES[@]}"; do
    await 30 "kube-router does not enforce anything on node-$n" "$(log_of "node-$n" kube-router)" enforces "$n"
  done
}

fake_nodes() { # N
  command -v kwok >/dev/null || die "KWOK is not built; run $HERE/build.sh --kwok"
  running control kwok || spawn control kwok kwok --kubeconfig "$RUN/admin.kubeconfig" --manage-all-nodes=false \
    --manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake --server-address 127.0.0.1:10999
  local i
  for ((i = 1; i <= $1; i++)); do
    cat <<YAML
---
apiVersion: v1
kind: Node
metadata: {name: fake-$i, annotations: {kwok.x-k8s.io/node: fake}, labels: {type: kwok, kubernetes.io/hostname: fake-$i}}
spec: {taints: [{key: kwok, effect: NoSchedule}]}
status: {allocatable: {cpu: "64", memory: 256Gi, pods: "1000"}, capacity: {cpu: "64", memory: 256Gi, pods: "1000"}}
YAML
  done | kc apply -f -
}

main() {
  local command=${1:-help}
  [ $# -eq 0 ] || shift
  case $command in
    up) up ;;
    down) down ;;
    status) status ;;
    env) show_env ;;
    in) inside "$@" ;;
    kubectl) kc "$@" ;;
    user) user "${@:?user NAME [GROUP…]}" ;;
    node) enter "node-${1:?node N COMMAND…}" "${@:2}" ;;
    load-collector) load_collector "${1:?load-collector BINARY}" ;;
    targets) targets "${1:?targets NAMESPACE}" ;;
    router-stop) router_stop ;;
    router-start) router_start ;;
    fake-nodes) fake_nodes "${1:?fake-nodes N}" ;;
    machine-init) machine_init "$1" ;; # not for people: machine_start runs it
    *) sed -n '2,/^# shellcheck/{/^# shellcheck/d; s/^# \{0,1\}//p}' "$SELF" >&2; exit 2 ;;
  esac
}

main "$@"
exit # bash reads on in a script that has changed meanwhile; not past this line
