//! An audit log made from a seed, with planted truth: the same seed gives the same lines.
//!
//! About 1.2 KiB an event, a quarter with bodies, as a cluster of some dozen nodes writes them: leases, node status, watches,
//! controllers. Among them, rarely, what is asked for.

use std::collections::VecDeque;
use std::fmt::Write;

use time::{Duration, OffsetDateTime};

/// The account that is asked for.
pub const ACCOUNT: (&str, &str) = ("payments", "checkout");
/// The Secret that is asked for.
pub const SECRET: (&str, &str) = ("payments", "db-credentials");
/// The address that is asked for.
pub const ADDRESS: &str = "203.0.113.66";
/// The token that is asked for.
pub const TOKEN: &str = "7d0f3c1e-0000-4000-8000-00000000feed";

/// What is in the log: the auditIDs of all requests that an answer must have, in the order of their times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Truth {
    /// Requests of [`ACCOUNT`], by others as it, and by it as others.
    pub account: Vec<String>,
    /// Those of them that were denied.
    pub denied: usize,
    /// Requests that touch [`SECRET`], lists of its namespace and of all among them.
    pub secret: Vec<String>,
    /// Requests from [`ADDRESS`].
    pub address: Vec<String>,
    /// Requests with [`TOKEN`].
    pub token: Vec<String>,
}

/// The log, a line at a time.
pub struct Log {
    random: Random,
    next: u64,
    events: u64,
    start: OffsetDateTime,
    span: Duration,
    waiting: VecDeque<(u64, String)>,
    /// One line in so many is planted.
    pub every: u64,
    /// What was planted so far.
    pub truth: Truth,
}

/// Sebastiano Vigna's splitmix64: small, and good enough to mix lines.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Brings a list into another order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            let other = usize::try_from(self.below(at as u64 + 1)).unwrap_or(0);
            list.swap(at, other);
        }
    }
}

/// One request, as a line tells of it.
#[derive(Clone, Copy)]
struct Call<'a> {
    level: &'a str,
    stage: &'a str,
    id: &'a str,
    verb: &'a str,
    uri: &'a str,
    user: &'a str,
    extra: &'a str,
    more: &'a str,
    ips: &'a str,
    agent: &'a str,
    object: &'a str,
    code: u16,
    bodies: &'a str,
    received: OffsetDateTime,
    staged: OffsetDateTime,
    decision: &'a str,
}

impl Log {
    /// So many events, evenly over `span` from `start`.
    pub fn new(seed: u64, events: u64, start: OffsetDateTime, span: Duration) -> Log {
        let truth = Truth::default();
        Log { random: Random(seed), next: 0, events, start, span, waiting: VecDeque::new(), every: 400, truth }
    }

    fn at(&self, event: u64) -> OffsetDateTime {
        let micros = self.span.whole_microseconds() / i128::from(self.events.max(1)) * i128::from(event);
        self.start + Duration::microseconds(i64::try_from(micros).unwrap_or(0))
    }

    fn id(&mut self) -> String {
        let (a, b) = (self.random.next(), self.random.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            a >> 32,
            a >> 16 & 0xffff,
            a & 0xfff,
            b >> 52,
            b & 0xffff_ffff_ffff
        )
    }

    /// Ordinary life.
    fn usual(&mut self, n: u64) -> String {
        let id = self.id();
        let (received, node, pick) = (self.at(n), self.random.below(40), self.random.below(100));
        let ip = format!("\"10.0.{}.{}\"", node / 8, node + 10);
        let name = format!("worker-{node}");
        let kubelet = format!("system:node:{name}");
        let staged = received + Duration::microseconds(3_141);
        let base = Call {
            level: "Metadata",
            stage: "ResponseComplete",
            id: &id,
            verb: "get",
            uri: "/healthz",
            user: &kubelet,
            extra: r#""authentication.kubernetes.io/credential-id":["X509SHA256=5c1d4c3b2a190807f6e5d4c3b2a190807f6e5d4c3b2a190807f6e5d4c3b2a190"]"#,
            more: "",
            ips: &ip,
            agent: "kubelet/v1.33.2 (linux/amd64) kubernetes/a57b6f7",
            object: "",
            code: 200,
            bodies: "",
            received,
            staged,
            decision: "allow",
        };
        match pick {
            0..25 => {
                let body = node_status(&name, &mut self.random);
                line(&Call {
                    level: "Request",
                    verb: "patch",
                    uri: &format!("/api/v1/nodes/{name}/status?timeout=10s"),
                    object: &format!(r#""resource":"nodes","name":"{name}","apiVersion":"v1","subresource":"status""#),
                    bodies: &format!(r#""requestObject":{body},"#),
                    ..base
                })
            }
            25..55 => line(&Call {
                verb: "update",
                uri: &format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}?timeout=10s"),
                object: &format!(
                    r#""resource":"leases","namespace":"kube-node-lease","name":"{name}","uid":"{id}","apiGroup":"coordination.k8s.io","apiVersion":"v1","resourceVersion":"{n}""#
                ),
                ..base
            }),
            55..75 => {
                // Fifteen pods a node, each with a new token every hour.
                let pod = node * 15 + self.random.below(15);
                let (team, name_of) = (pod % 30, format!("web-7d4b9c5f6-{pod:05x}"));
                let hour = received.unix_timestamp() / 3600;
                line(&Call {
                    user: &format!("system:serviceaccount:team-{team}:default"),
                    extra: &pod_extra(&name_of, &name, pod, hour),
                    uri: &format!("/api/v1/namespaces/team-{team}/configmaps/settings"),
                    object: &format!(
                        r#""resource":"configmaps","namespace":"team-{team}","name":"settings","apiVersion":"v1""#
                    ),
                    agent: "web/v0.0.0 (linux/amd64) kubernetes/$Format",
                    ..base
                })
            }
            75..90 => line(&Call {
                verb: "list",
                user: "system:serviceaccount:kube-system:generic-garbage-collector",
                uri: "/apis/apps/v1/replicasets?limit=500&resourceVersion=0",
                object: r#""resource":"replicasets","apiGroup":"apps","apiVersion":"v1""#,
                agent: "kube-controller-manager/v1.33.2 (linux/amd64) kubernetes/a57b6f7/system:serviceaccount:kube-system:generic-garbage-collector",
                ..base
            }),
            90..97 => line(&Call {
                verb: "create",
                uri: &format!("/api/v1/namespaces/team-{0}/serviceaccounts/default/token", node % 30),
                object: &format!(
                    r#""resource":"serviceaccounts","namespace":"team-{}","name":"default","uid":"{id}","apiVersion":"v1","subresource":"token""#,
                    node % 30
                ),
                code: 201,
                ..base
            }),
            _ => line(&Call {
                user: "system:kube-scheduler",
                verb: "watch",
                uri: "/api/v1/pods?allowWatchBookmarks=true&fieldSelector=status.phase%21%3DFailed&watch=true",
                object: r#""resource":"pods","apiVersion":"v1""#,
                agent: "kube-scheduler/v1.33.2 (linux/amd64) kubernetes/a57b6f7/scheduler",
                ..base
            }),
        }
    }

    /// What is asked for, and what only looks like it.
    fn planted(&mut self, n: u64) -> String {
        let id = self.id();
        let received = self.at(n);
        let account = format!("system:serviceaccount:{}:{}", ACCOUNT.0, ACCOUNT.1);
        let secret = |ns: &str, name: &str| {
            let name = if name.is_empty() { String::new() } else { format!(r#","name":"{name}""#) };
            let ns = if ns.is_empty() { String::new() } else { format!(r#","namespace":"{ns}""#) };
            format!(r#""resource":"secrets"{ns}{name},"apiVersion":"v1""#)
        };
        let base = Call {
            level: "Metadata",
            stage: "ResponseComplete",
            id: &id,
            verb: "get",
            uri: "/api/v1/namespaces/payments/configmaps/x",
            user: &account,
            extra: "",
            more: "",
            ips: "\"10.0.1.17\"",
            agent: "checkout/1.0",
            object: r#""resource":"configmaps","namespace":"payments","name":"x","apiVersion":"v1""#,
            code: 200,
            bodies: "",
            received,
            staged: received + Duration::microseconds(2_718),
            decision: "allow",
        };
        let truth = &mut self.truth;
        match self.random.below(12) {
            0 => {
                truth.account.push(id.clone());
                truth.secret.push(id.clone());
                line(&Call {
                    object: &secret(SECRET.0, SECRET.1),
                    uri: "/api/v1/namespaces/payments/secrets/db-credentials",
                    ..base
                })
            }
            1 => {
                truth.account.push(id.clone());
                truth.denied += 1;
                line(&Call {
                    verb: "list",
                    object: r#""resource":"nodes","apiVersion":"v1""#,
                    code: 403,
                    decision: "forbid",
                    uri: "/api/v1/nodes",
                    ..base
                })
            }
            2 => {
                // Its list of the whole cluster, with its name hidden by an escape, keys in another order.
                truth.account.push(id.clone());
                truth.secret.push(id.clone());
                let hidden = account.replace(":checkout", ":ch\\u0065ckout");
                let text = line(&Call {
                    verb: "list",
                    user: &hidden,
                    object: &secret("", ""),
                    uri: "/api/v1/secrets",
                    ..base
                });
                let (head, tail) = text.split_at(text.find("\"level\"").unwrap_or(1));
                let (level, tail) = tail.split_at(tail.find(',').map_or(0, |at| at + 1));
                format!("{{{level}{}{tail}", head.trim_start_matches('{'))
            }
            3 => {
                truth.secret.push(id.clone());
                line(&Call {
                    verb: "watch",
                    user: "kube-admin",
                    object: &secret(SECRET.0, ""),
                    uri: "/api/v1/namespaces/payments/secrets?watch=true",
                    agent: "kubectl/v1.33",
                    ..base
                })
            }
            4 => {
                truth.account.push(id.clone());
                let by =
                    format!(r#""impersonatedUser":{{"username":"{account}","groups":["system:serviceaccounts"]}},"#);
                line(&Call { user: "jane@example.org", more: &by, ..base })
            }
            5 => {
                truth.account.push(id.clone());
                line(&Call { more: r#""impersonatedUser":{"username":"system:admin"},"#, verb: "delete", ..base })
            }
            6 => {
                truth.address.push(id.clone());
                line(&Call {
                    user: "kube-admin",
                    ips: &format!("\"10.9.9.9\",\"{ADDRESS}\""),
                    agent: "curl/8.5",
                    ..base
                })
            }
            7 => {
                truth.token.push(id.clone());
                line(&Call {
                    user: "kube-admin",
                    extra: &format!(r#""authentication.kubernetes.io/credential-id":["JTI={TOKEN}"]"#),
                    ..base
                })
            }
            8 => {
                // A stream: begun here, ended later.
                truth.account.push(id.clone());
                let uri = "/api/v1/namespaces/payments/pods/web/exec?command=sh&command=-c&command=id+%3E+%2Ftmp%2Fx&stdout=true";
                let object =
                    r#""resource":"pods","namespace":"payments","name":"web","apiVersion":"v1","subresource":"exec""#;
                let call = Call { uri, object, code: 101, ..base };
                let ended = line(&Call { staged: received + Duration::seconds(9), ..call });
                self.waiting.push_back((n + 3, ended));
                line(&Call { stage: "ResponseStarted", ..call })
            }
            // Decoys: a longer name, the address where a client can write it, the name in a body only, another Secret.
            9 => line(&Call { user: &format!("{account}2"), object: &secret(SECRET.0, "db-credentials2"), ..base }),
            10 => line(&Call { user: "kube-admin", ips: &format!("\"{ADDRESS}\",\"10.0.1.1\""), ..base }),
            _ => line(&Call {
                user: "kube-admin",
                level: "Request",
                bodies: &format!(
                    r#""requestObject":{{"kind":"RoleBinding","subjects":[{{"name":"{account}"}}],"secret":"secrets"}},"#
                ),
                object: r#""resource":"rolebindings","namespace":"payments","name":"b","apiGroup":"rbac.authorization.k8s.io","apiVersion":"v1""#,
                verb: "create",
                code: 201,
                ..base
            }),
        }
    }
}

impl Iterator for Log {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if self.waiting.front().is_some_and(|(at, _)| *at <= self.next || self.next >= self.events) {
            return self.waiting.pop_front().map(|(_, line)| line);
        }
        if self.next >= self.events {
            return None;
        }
        let n = self.next;
        self.next += 1;
        Some(if self.random.below(self.every) == 0 { self.planted(n) } else { self.usual(n) })
    }
}

fn line(call: &Call<'_>) -> String {
    let time = |at: OffsetDateTime| {
        let (h, m, s) = at.to_hms();
        format!(
            "{}-{:02}-{:02}T{h:02}:{m:02}:{s:02}.{:06}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.microsecond()
        )
    };
    let mut text = String::with_capacity(1600);
    let _ = write!(
        text,
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"{}","auditID":"{}","stage":"{}","requestURI":"{}","verb":"{}","user":{{"username":"{}","uid":"6ac3f2a0-4cbb-4bd6-a9f4-0b3a0de4a8d1","groups":[{}"system:authenticated"],"extra":{{{}}}}},{}"sourceIPs":[{}],"userAgent":"{}","#,
        call.level,
        call.id,
        call.stage,
        call.uri.replace('&', "\\u0026"),
        call.verb,
        call.user,
        groups(call.user),
        call.extra,
        call.more,
        call.ips,
        call.agent
    );
    if !call.object.is_empty() {
        let _ = write!(text, r#""objectRef":{{{}}},"#, call.object);
    }
    let _ = write!(
        text,
        r#""responseStatus":{{"metadata":{{}},"code":{}}},{}"requestReceivedTimestamp":"{}","stageTimestamp":"{}","annotations":{{"authorization.k8s.io/decision":"{}","authorization.k8s.io/reason":"{}"}}}}"#,
        call.code,
        call.bodies,
        time(call.received),
        time(call.staged),
        call.decision,
        // The node authorizer gives none.
        if call.user.starts_with("system:node:") { "" } else { REASON }
    );
    text
}

const REASON: &str = r#"RBAC: allowed by ClusterRoleBinding \"system:basic-user\" of ClusterRole \"system:basic-user\" to Group \"system:authenticated\""#;

/// Those that the authenticators give beside `system:authenticated`.
fn groups(user: &str) -> String {
    match (
        user.starts_with("system:node:"),
        user.strip_prefix("system:serviceaccount:").and_then(|r| r.split_once(':')),
    ) {
        (true, _) => r#""system:nodes","#.into(),
        (_, Some((namespace, _))) => {
            format!(r#""system:serviceaccounts","system:serviceaccounts:{namespace}","#)
        }
        _ => String::new(),
    }
}

fn pod_extra(name: &str, node: &str, pod: u64, hour: i64) -> String {
    format!(
        r#""authentication.kubernetes.io/credential-id":["JTI=a1b2c3d4-{pod:04x}-4000-8000-{hour:012x}"],"authentication.kubernetes.io/node-name":["{node}"],"authentication.kubernetes.io/node-uid":["f1e2d3c4-0000-4000-8000-0000000000aa"],"authentication.kubernetes.io/pod-name":["{name}"],"authentication.kubernetes.io/pod-uid":["0a1b2c3d-{pod:04x}-4000-8000-0000000000bb"]"#
    )
}

fn node_status(name: &str, random: &mut Random) -> String {
    let mut text = format!(
        r#"{{"metadata":{{"name":"{name}","annotations":{{"note":"a \"quoted\" \u003cword\u003e"}}}},"status":{{"conditions":["#
    );
    for (at, kind) in ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"].iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(
            text,
            r#"{comma}{{"lastHeartbeatTime":"2026-11-23T03:00:00Z","lastTransitionTime":"2026-11-01T00:00:00Z","message":"kubelet has sufficient {kind}","reason":"KubeletHas","status":"False","type":"{kind}"}}"#
        );
    }
    let _ = write!(text, r#"],"images":["#);
    for at in 0..random.below(4) + 1 {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(
            text,
            r#"{comma}{{"names":["registry.example.org/team/app@sha256:{:064x}"],"sizeBytes":{}}}"#,
            random.next(),
            random.below(1 << 28)
        );
    }
    text.push_str("]}}");
    text
}
