//! Pod Security admission: the checks of the levels "baseline" and "restricted" as of Kubernetes 1.35, in the server's
//! order and words.
use std::collections::BTreeSet;

use serde_json::Value;

use super::field::{entries, flag, items, text};

/// The capabilities that a container has anyway, and may so ask for.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
    "",
];
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];
const SELINUX_TYPES: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
const VOLUME_TYPES: [&str; 8] =
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];
const APP_ARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

/// See [`super::pod_security`].
pub(super) fn violations(level: &str, pod: &Value) -> Vec<String> {
    let pod = Pod { pod, spec: &pod["spec"] };
    let restricted = level == "restricted";
    if !restricted && level != "baseline" {
        return Vec::new();
    }
    // Restricted has stricter checks in place of some of baseline's.
    let baseline = [
        pod.app_armor(),
        if restricted { None } else { pod.default_capabilities() },
        pod.host_namespaces(),
        if restricted { None } else { pod.host_paths() },
        pod.host_ports(),
        pod.probe_hosts(),
        pod.privileged(),
        if restricted { None } else { pod.proc_mount(true) },
        pod.selinux(),
        if restricted { None } else { pod.seccomp_baseline() },
        pod.sysctls(),
        pod.host_process(),
    ];
    let more = [
        pod.privilege_escalation(),
        pod.restricted_capabilities(),
        pod.proc_mount(false),
        pod.volume_types(),
        pod.non_root(),
        pod.root_user(),
        pod.seccomp_restricted(),
    ];
    baseline.into_iter().chain(if restricted { more.to_vec() } else { Vec::new() }).flatten().collect()
}

struct Pod<'a> {
    pod: &'a Value,
    spec: &'a Value,
}

/// `container "a"`, `containers "a", "b"`.
fn containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", names.len()), quoted(names))
}

fn plural(word: &str, n: usize) -> String {
    if n == 1 { word.to_owned() } else { format!("{word}s") }
}

fn quoted<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> String {
    words.into_iter().map(|w| format!("\"{}\"", w.as_ref())).collect::<Vec<_>>().join(", ")
}

/// Who set something bad: the pod, some containers or both.
fn setters(pod: bool, names: &[&str]) -> Option<String> {
    let named = (!names.is_empty()).then(|| containers(names));
    let all: Vec<String> = pod.then(|| "pod".to_owned()).into_iter().chain(named).collect();
    (!all.is_empty()).then(|| all.join(" and "))
}

impl<'a> Pod<'a> {
    /// Every container, init container and ephemeral container, in the order of the checks.
    fn containers(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        let spec = self.spec;
        ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(|key| items(&spec[key]))
    }

    fn named(&self, bad: impl Fn(&'a Value) -> bool) -> Vec<&'a str> {
        self.containers().filter(|c| bad(c)).map(|c| text(&c["name"])).collect()
    }

    fn context(&self) -> &'a Value {
        &self.spec["securityContext"]
    }

    fn windows(&self) -> bool {
        text(&self.spec["os"]["name"]) == "windows"
    }

    /// A pod in a user namespace of its own: root in it is nobody outside.
    fn own_users(&self) -> bool {
        self.spec["hostUsers"] == Value::Bool(false)
    }

    fn app_armor(&self) -> Option<String> {
        let bad =
            |context: &Value| !matches!(text(&context["appArmorProfile"]["type"]), "" | "RuntimeDefault" | "Localhost");
        let names = self.named(|c| bad(&c["securityContext"]));
        let contexts = self.containers().map(|c| &c["securityContext"]).chain([self.context()]);
        let mut values: BTreeSet<String> =
            contexts.filter(|c| bad(c)).map(|c| text(&c["appArmorProfile"]["type"]).to_owned()).collect();
        let annotations: Vec<String> = entries(&self.pod["metadata"]["annotations"])
            .filter(|(key, value)| {
                let fine = matches!(text(value), "" | "runtime/default") || text(value).starts_with("localhost/");
                key.starts_with(APP_ARMOR_ANNOTATION) && !fine
            })
            .map(|(key, value)| format!("{key}={:?}", text(value)))
            .collect();
        let setters = setters(bad(self.context()), &names);
        let annotated = (!annotations.is_empty()).then(|| plural("annotation", annotations.len()));
        values.extend(annotations);
        let setters: Vec<String> = setters.into_iter().chain(annotated).collect();
        (!setters.is_empty()).then(|| {
            let reason = plural("forbidden AppArmor profile", values.len());
            format!("{reason} ({} must not set AppArmor profile type to {})", setters.join(" and "), quoted(&values))
        })
    }

    fn added(&self, fine: &[&str]) -> Option<String> {
        let bad = |c: &Value| !fine.contains(&text(c));
        let list = |c: &'a Value| items(&c["securityContext"]["capabilities"]["add"]);
        let names = self.named(|c| list(c).iter().any(bad));
        let values: BTreeSet<&str> = self.containers().flat_map(list).filter(|c| bad(c)).map(text).collect();
        (!names.is_empty()).then(|| {
            format!("{} must not include {} in securityContext.capabilities.add", containers(&names), quoted(values))
        })
    }

    fn default_capabilities(&self) -> Option<String> {
        Some(format!("non-default capabilities ({})", self.added(&DEFAULT_CAPABILITIES)?))
    }

    fn restricted_capabilities(&self) -> Option<String> {
        if self.windows() {
            return None;
        }
        let dropped = |c: &Value| items(&c["securityContext"]["capabilities"]["drop"]).iter().any(|c| c == "ALL");
        let names = self.named(|c| !dropped(c));
        let missing = (!names.is_empty())
            .then(|| format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&names)));
        let details: Vec<String> = missing.into_iter().chain(self.added(&["NET_BIND_SERVICE"])).collect();
        (!details.is_empty()).then(|| format!("unrestricted capabilities ({})", details.join("; ")))
    }

    fn host_namespaces(&self) -> Option<String> {
        let shared: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
            .into_iter()
            .filter(|key| flag(&self.spec[*key]))
            .map(|key| format!("{key}=true"))
            .collect();
        (!shared.is_empty()).then(|| format!("host namespaces ({})", shared.join(", ")))
    }

    fn host_paths(&self) -> Option<String> {
        let volumes = items(&self.spec["volumes"]).iter().filter(|v| !v["hostPath"].is_null());
        let names: Vec<&str> = volumes.map(|v| text(&v["name"])).collect();
        (!names.is_empty()).then(|| format!("hostPath volumes ({} {})", plural("volume", names.len()), quoted(names)))
    }

    fn host_ports(&self) -> Option<String> {
        let ports = |c: &'a Value| items(&c["ports"]).iter().filter_map(|p| p["hostPort"].as_i64()).filter(|p| *p != 0);
        let names = self.named(|c| ports(c).next().is_some());
        let all: BTreeSet<String> = self.containers().flat_map(ports).map(|p| p.to_string()).collect();
        let uses = if names.len() == 1 { "uses" } else { "use" };
        let list = || all.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        (!names.is_empty())
            .then(|| format!("hostPort ({} {uses} {} {})", containers(&names), plural("hostPort", all.len()), list()))
    }

    fn probe_hosts(&self) -> Option<String> {
        let hosts = |c: &'a Value| {
            let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|key| &c[key]);
            let hooks = ["postStart", "preStop"].map(|key| &c["lifecycle"][key]);
            let handlers = probes.into_iter().chain(hooks);
            handlers
                .flat_map(|h| ["httpGet", "tcpSocket"].map(|key| text(&h[key]["host"])))
                .filter(|host| !host.is_empty())
        };
        let names: BTreeSet<&str> = self.named(|c| hosts(c).next().is_some()).into_iter().collect();
        let names: Vec<&str> = names.into_iter().collect();
        let all: BTreeSet<&str> = self.containers().flat_map(hosts).collect();
        let uses = if names.len() == 1 { "uses" } else { "use" };
        (!names.is_empty()).then(|| {
            let hosts = plural("probe or lifecycle host", all.len());
            format!("probe or lifecycle host ({} {uses} {hosts} {})", containers(&names), quoted(all))
        })
    }

    fn privileged(&self) -> Option<String> {
        let names = self.named(|c| flag(&c["securityContext"]["privileged"]));
        let who = setters(false, &names)?;
        Some(format!("privileged ({who} must not set securityContext.privileged=true)"))
    }

    /// Baseline lets a pod in its own user namespace see all of /proc.
    fn proc_mount(&self, relaxed: bool) -> Option<String> {
        if relaxed && self.own_users() {
            return None;
        }
        let value = |c: &'a Value| text(&c["securityContext"]["procMount"]);
        let names = self.named(|c| !matches!(value(c), "" | "Default"));
        let values: BTreeSet<&str> = self.containers().map(value).filter(|v| !matches!(*v, "" | "Default")).collect();
        let who = setters(false, &names)?;
        Some(format!("procMount ({who} must not set securityContext.procMount to {})", quoted(values)))
    }

    fn selinux(&self) -> Option<String> {
        let options = |context: &'a Value| &context["seLinuxOptions"];
        let bad = |context: &'a Value| {
            let options = options(context);
            let set = |key: &str| !text(&options[key]).is_empty();
            !SELINUX_TYPES.contains(&text(&options["type"])) || set("user") || set("role")
        };
        let names = self.named(|c| bad(&c["securityContext"]));
        let who = setters(bad(self.context()), &names)?;
        let all: Vec<&Value> =
            self.containers().map(|c| &c["securityContext"]).chain([self.context()]).map(options).collect();
        let types: BTreeSet<&str> =
            all.iter().map(|o| text(&o["type"])).filter(|t| !SELINUX_TYPES.contains(t)).collect();
        let mut what = Vec::new();
        if !types.is_empty() {
            what.push(format!("{} {}", plural("type", types.len()), quoted(types)));
        }
        for key in ["user", "role"] {
            if all.iter().any(|o| !text(&o[key]).is_empty()) {
                what.push(format!("{key} may not be set"));
            }
        }
        Some(format!("seLinuxOptions ({who} set forbidden securityContext.seLinuxOptions: {})", what.join("; ")))
    }

    fn bad_seccomp(&self) -> Option<String> {
        let kind = |context: &'a Value| context["seccompProfile"]["type"].as_str();
        let bad = |context: &'a Value| kind(context).filter(|t| !matches!(*t, "RuntimeDefault" | "Localhost"));
        let names = self.named(|c| bad(&c["securityContext"]).is_some());
        let who = setters(bad(self.context()).is_some(), &names)?;
        let contexts = self.containers().map(|c| &c["securityContext"]).chain([self.context()]);
        let values: BTreeSet<&str> = contexts.filter_map(bad).collect();
        Some(format!("seccompProfile ({who} must not set securityContext.seccompProfile.type to {})", quoted(values)))
    }

    fn seccomp_baseline(&self) -> Option<String> {
        self.bad_seccomp()
    }

    fn seccomp_restricted(&self) -> Option<String> {
        if self.windows() {
            return None;
        }
        self.bad_seccomp().or_else(|| {
            let unset = |context: &Value| context["seccompProfile"].is_null();
            let names = self.named(|c| unset(&c["securityContext"]) && unset(self.context()));
            let must = "must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"";
            (!names.is_empty()).then(|| format!("seccompProfile (pod or {} {must})", containers(&names)))
        })
    }

    fn sysctls(&self) -> Option<String> {
        let names = items(&self.context()["sysctls"]).iter().map(|s| text(&s["name"]));
        let bad: Vec<&str> = names.filter(|name| !SAFE_SYSCTLS.contains(name)).collect();
        (!bad.is_empty()).then(|| format!("forbidden sysctls ({})", bad.join(", ")))
    }

    fn host_process(&self) -> Option<String> {
        let set = |context: &Value| flag(&context["windowsOptions"]["hostProcess"]);
        let who = setters(set(self.context()), &self.named(|c| set(&c["securityContext"])))?;
        Some(format!("hostProcess ({who} must not set securityContext.windowsOptions.hostProcess=true)"))
    }

    fn privilege_escalation(&self) -> Option<String> {
        if self.windows() {
            return None;
        }
        let names = self.named(|c| c["securityContext"]["allowPrivilegeEscalation"] != Value::Bool(false));
        let who = setters(false, &names)?;
        Some(format!(
            "allowPrivilegeEscalation != false ({who} must set securityContext.allowPrivilegeEscalation=false)"
        ))
    }

    fn volume_types(&self) -> Option<String> {
        let kind = |v: &'a Value| entries(v).find(|(key, v)| *key != "name" && !v.is_null()).map_or("", |(key, _)| key);
        let bad = items(&self.spec["volumes"]).iter().filter(|v| !VOLUME_TYPES.contains(&kind(v)));
        let bad: Vec<&Value> = bad.collect();
        let kinds: BTreeSet<&str> = bad.iter().map(|v| kind(v)).collect();
        let names: Vec<&str> = bad.iter().map(|v| text(&v["name"])).collect();
        let uses = if names.len() == 1 { "uses" } else { "use" };
        (!names.is_empty()).then(|| {
            let types = plural("restricted volume type", kinds.len());
            let volumes = plural("volume", names.len());
            format!("restricted volume types ({volumes} {} {uses} {types} {})", quoted(names), quoted(kinds))
        })
    }

    fn non_root(&self) -> Option<String> {
        if self.own_users() {
            return None;
        }
        let set = |context: &Value| context["runAsNonRoot"].as_bool();
        let bad = self.named(|c| set(&c["securityContext"]) == Some(false));
        if let Some(who) = setters(set(self.context()) == Some(false), &bad) {
            return Some(format!("runAsNonRoot != true ({who} must not set securityContext.runAsNonRoot=false)"));
        }
        let names = self.named(|c| set(&c["securityContext"]).is_none() && set(self.context()).is_none());
        let must = "must set securityContext.runAsNonRoot=true";
        (!names.is_empty()).then(|| format!("runAsNonRoot != true (pod or {} {must})", containers(&names)))
    }

    fn root_user(&self) -> Option<String> {
        if self.own_users() {
            return None;
        }
        let root = |context: &Value| context["runAsUser"].as_i64() == Some(0);
        let who = setters(root(self.context()), &self.named(|c| root(&c["securityContext"])))?;
        Some(format!("runAsUser=0 ({who} must not set runAsUser=0)"))
    }
}
