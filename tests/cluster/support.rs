//! The cluster under test, the responder who has exactly the rights that `quell runbook rbac` prints, and runs of quell.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The cluster that `tests/cluster/cluster.sh up` brought up.
pub struct Cluster {
    run: PathBuf,
    responder: PathBuf,
    pub collector: String,
}

pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let run = PathBuf::from(
            std::env::var("QUELL_TEST_CLUSTER").expect("set QUELL_TEST_CLUSTER: see tests/cluster/README.md"),
        );
        let responder = run.join("responder.kubeconfig");
        if !responder.exists() {
            script(&["user", "responder"]);
        }
        let collector = std::fs::read_to_string(run.join("collector.image"))
            .expect("cluster.sh load-collector has run")
            .trim()
            .to_string();
        Cluster { run, responder, collector }
    })
}

pub fn script(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/cluster.sh");
    let output =
        Command::new("bash").arg(script).args(arguments).stdin(Stdio::null()).output().expect("cluster.sh runs");
    assert!(output.status.success(), "cluster.sh {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Cluster {
    pub fn audit_log(&self) -> PathBuf {
        self.run.join("log/audit.log")
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.responder
    }

    pub fn admin(&self) -> PathBuf {
        self.run.join("admin.kubeconfig")
    }
}

/// A namespace with the targets in it, gone when it is dropped.
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    /// With every workload of `manifests/`, all ready, and the responder's rights.
    pub fn with_targets(name: &str) -> Namespace {
        let ns = Namespace { name: name.into() };
        kubectl(&["delete", "namespace", name, "--ignore-not-found", "--wait=true"]);
        script(&["targets", name]);
        ns.grant();
        ns
    }

    /// Exactly what `quell runbook rbac` prints, bound to the responder.
    fn grant(&self) {
        let printed = quell()
            .args(["runbook", "rbac", "pod-compromise", "-n", &self.name, "--user", "responder"])
            .output()
            .unwrap();
        assert!(printed.status.success());
        apply(&printed.stdout);
    }

    /// The name of a running pod with that label.
    pub fn pod(&self, selector: &str) -> String {
        let names = kubectl(&[
            "-n",
            &self.name,
            "get",
            "pods",
            "-l",
            selector,
            "--field-selector=status.phase=Running",
            "-o",
            "name",
        ]);
        names
            .lines()
            .next()
            .unwrap_or_else(|| panic!("no pod {selector} in {}", self.name))
            .trim_start_matches("pod/")
            .to_string()
    }

    pub fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let text = kubectl(&["-n", &self.name, "get", kind, name, "-o", "json", "--ignore-not-found"]);
        (!text.trim().is_empty()).then(|| serde_json::from_str(&text).unwrap())
    }

    pub fn list(&self, kind: &str) -> Vec<Value> {
        let list: Value = serde_json::from_str(&kubectl(&["-n", &self.name, "get", kind, "-o", "json"])).unwrap();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Whether a TCP connection from the client pod to that address is answered.
    pub fn dials(&self, address: &str) -> bool {
        Command::new("kubectl")
            .args([
                "--kubeconfig",
                cluster().admin().to_str().unwrap(),
                "-n",
                &self.name,
                "exec",
                "client",
                "--",
                "probe",
                "dial",
                address,
            ])
            .output()
            .unwrap()
            .status
            .success()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            kubectl(&["delete", "namespace", &self.name, "--ignore-not-found", "--wait=false"]);
        }
    }
}

pub fn kubectl(arguments: &[&str]) -> String {
    let output = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(cluster().admin())
        .args(arguments)
        .output()
        .expect("kubectl runs");
    assert!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// One at a time: the tests run side by side and share the cluster-wide roles, and two
/// `kubectl apply` that both find none of a name make one of them fail with AlreadyExists.
pub fn apply(manifests: &[u8]) {
    use std::io::Write;
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut child = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(cluster().admin())
        .args(["apply", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(manifests).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "kubectl apply: {}", String::from_utf8_lossy(&output.stderr));
}

/// Until it is so, or the deadline.
pub fn eventually(what: &str, seconds: u64, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !so() {
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The built binary in a clean environment.
pub fn quell() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quell"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("USER", "oncall")
        .stdin(Stdio::null());
    command
}

/// A state directory of its own, and runs in it as the responder.
pub struct Desk {
    pub home: tempfile::TempDir,
    pub namespace: String,
}

/// What a run printed.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Desk {
    pub fn new(namespace: &Namespace) -> Desk {
        Desk { home: tempfile::tempdir().unwrap(), namespace: namespace.name.clone() }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = quell();
        command
            .args(arguments)
            .env("QUELL_STATE_DIR", self.home.path().join("state"))
            .env("KUBECONFIG", cluster().kubeconfig())
            .current_dir(self.home.path());
        command
    }

    pub fn quell(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments).output().unwrap())
    }

    /// `quell run pod-compromise` on one pod with every approval given, the audit log and the collector's image.
    pub fn playbook(&self, pod: &str, more: &[&str]) -> Ran {
        self.quell(&self.arguments(pod, more).iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub fn arguments(&self, pod: &str, more: &[&str]) -> Vec<String> {
        let mut all: Vec<String> = ["run", "pod-compromise", "-n", &self.namespace, "--set"].map(String::from).into();
        all.push(format!("pod={pod}"));
        for (name, value) in [
            ("audit-log", cluster().audit_log().display().to_string()),
            ("collector-image", cluster().collector.clone()),
            ("grace", "1s".to_string()),
        ] {
            all.extend(["--set".to_string(), format!("{name}={value}")]);
        }
        all.extend(["--yes", "--max-risk", "destructive"].map(String::from));
        all.extend(more.iter().map(|s| (*s).to_string()));
        all
    }

    /// The one bundle in the working directory.
    pub fn bundle(&self) -> PathBuf {
        let mut found: Vec<PathBuf> = std::fs::read_dir(self.home.path())
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "tar"))
            .collect();
        found.sort();
        found.pop().expect("a bundle")
    }

    pub fn status(&self) -> Value {
        serde_json::from_str(&self.quell(&["status", "last", "--json"]).out).unwrap()
    }

    /// Step to status.
    pub fn steps(&self) -> std::collections::BTreeMap<String, String> {
        self.status()["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| (s["step"].as_str().unwrap().to_string(), s["status"].as_str().unwrap_or("-").to_string()))
            .collect()
    }

    /// Paths of the captured artifacts, sorted.
    pub fn artifacts(&self) -> Vec<String> {
        self.status()["artifacts"].as_object().unwrap().keys().cloned().collect()
    }

    pub fn incident(&self) -> String {
        self.status()["incident"].as_str().unwrap().to_string()
    }

    pub fn folder(&self) -> PathBuf {
        self.home.path().join("state/incidents").join(self.incident())
    }
}

pub fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Desk {
    /// A JSON document among the artifacts of the last incident.
    pub fn document(&self, path: &str) -> Value {
        let text = std::fs::read(self.folder().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        serde_json::from_slice(&text).unwrap()
    }

    /// Names in a tar among them, without `./` before them.
    pub fn names_in_tar(&self, path: &str) -> Vec<String> {
        let listed = Command::new("tar").arg("-tf").arg(self.folder().join(path)).output().unwrap();
        assert!(listed.status.success(), "{path}: {}", String::from_utf8_lossy(&listed.stderr));
        String::from_utf8_lossy(&listed.stdout).lines().map(|l| l.trim_start_matches("./").to_string()).collect()
    }
}

/// A command in a pod, running, its standard output piped.
pub fn in_pod(namespace: &str, pod: &str, argv: &[&str]) -> std::process::Child {
    Command::new("kubectl")
        .args(["--kubeconfig", cluster().admin().to_str().unwrap(), "-n", namespace, "exec", pod, "--"])
        .args(argv)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
