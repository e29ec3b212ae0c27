//! Programs, execs and the collector, as somebody outside meets them.

use super::*;
use crate::collector::processes::model::Report;
use crate::collector::wire::{Item, Reader, Trailer};

/// A network where only port 80 answers.
pub struct Some80;

impl Net for Some80 {
    fn dial(&self, address: &str, _: Duration) -> Result<(), String> {
        match address.rsplit_once(':') {
            Some((_, "80")) => Ok(()),
            Some((host, _)) if host.ends_with(".invalid") => Err("no such host".into()),
            Some((_, "81")) => Err("connection timed out".into()),
            _ => Err("connection refused".into()),
        }
    }
}

#[derive(Clone, Default)]
pub struct Shared(pub Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub fn container(inside: &str) -> Container {
    let facts = Facts {
        hostname: "web-1".into(),
        container_id: "ab".repeat(32),
        started: 1_700_000_000,
        env: vec![("TOKEN".into(), "s3cret".into())],
        mounts: vec![("/var/run/secrets/kubernetes.io/serviceaccount/token".into(), b"jwt".to_vec(), 0o644)],
        ..Facts::default()
    };
    Container::new(&serde_json::from_str(inside).unwrap(), facts)
}

pub const INSIDE: &str = r#"{
  "files": {"/app/secret.txt": {"text": "one\ntwo\n", "mode": "0600", "mtime": -60}, "/app/link": {"symlink": "secret.txt"},
            "/app/.hidden": {"text": "h"}, "/app/big": {"size": 70000}, "/tmp/implant": {"text": "implanted"},
            "/bin/suid": {"text": "x", "mode": "4755"}},
  "processes": [
    {"pid": 1, "cmdline": ["httpd", "-f"], "exe": "/bin/busybox", "sockets": ["0.0.0.0:8080"]},
    {"pid": 9, "ppid": 1, "cmdline": ["/tmp/implant", "a b"], "deleted": true, "start-offset-seconds": 5, "env": {"KEY": "v=1"},
     "sockets": ["10.244.0.5:4000 -> 198.51.100.9:3333"]},
    {"pid": 12, "ppid": 1, "cmdline": ["[kworker]"], "exe": "x", "memfd": true, "uid": 1000}]}"#;

pub fn exec(container: &Container, argv: &[&str], input: &str, tty: bool) -> (i32, Vec<u8>, String) {
    let (out, err) = (Shared::default(), Shared::default());
    let io = Io {
        stdin: Box::new(std::io::Cursor::new(input.as_bytes().to_vec())),
        stdout: Box::new(out.clone()),
        stderr: Box::new(err.clone()),
        tty,
        cancel: Arc::default(),
    };
    let argv: Vec<String> = argv.iter().map(|a| (*a).into()).collect();
    let code = container.exec(&argv, io, &Some80).unwrap_or_else(|e| panic!("{}", e.message));
    let text = String::from_utf8_lossy(&err.0.lock().unwrap()).into_owned();
    (code, std::mem::take(&mut *out.0.lock().unwrap()), text)
}

#[test]
fn programs_say_what_busybox_says() {
    let c = container(INSIDE);
    for (script, code, expected) in [
        ("cat /app/link | grep -n t.o", 0, "2:two\n"),
        ("ls /app; ls -A /app | wc -l", 0, "big\nlink\nsecret.txt\n4\n"),
        ("cd /app; ls -l link | tail -c 19", 0, "link -> secret.txt\n"),
        ("ls -la /app/secret.txt", 0, "-rw-------    1 root     root             8 Nov 14  2023 /app/secret.txt\n"),
        ("cat /none", 1, "cat: can't open '/none': No such file or directory\n"),
        ("readlink /app/link; readlink -f /app/link; readlink /none", 1, "secret.txt\n/app/secret.txt\n"),
        ("echo hi | tee /tmp/a | tr a-z A-Z; cat /tmp/a", 0, "HI\nhi\n"),
        ("printf '%s-%03d\\n' a 7 b 8", 0, "a-007\nb-008\n"),
        ("find / -perm -4000 -type f; find /app -name '*.txt'", 0, "/bin/suid\n/app/secret.txt\n"),
        ("mkdir -p /x/y && touch /x/y/z && mv /x/y /q && ls /q /x", 0, "/q:\nz\n\n/x:\n"),
        ("rm /app", 1, "rm: '/app' is a directory\n"),
        ("rm -rf /app; ls /app", 1, "ls: /app: No such file or directory\n"),
        ("id; hostname; whoami", 0, "uid=0(root) gid=0(root) groups=0(root)\nweb-1\nroot\n"),
        ("echo abc | sha256sum", 0, "edeaaff3f1774ad2888673770c6d64097e391bc362d7d6fb34982ddf0efd18cb  -\n"),
        (
            "tr '\\000' ' ' </proc/9/cmdline; cat /proc/9/exe; readlink /proc/9/exe",
            0,
            "/tmp/implant a b implanted/tmp/implant (deleted)\n",
        ),
        ("readlink /proc/12/exe; grep Uid /proc/12/status", 0, "/memfd:x (deleted)\nUid:\t1000\t1000\t1000\t1000\n"),
        (
            "netstat -tnp | tail -n 1",
            0,
            "tcp        0      0 10.244.0.5:4000         198.51.100.9:3333       ESTABLISHED 9/implant\n",
        ),
        (
            "ps | head -n 3",
            0,
            "PID   USER     TIME  COMMAND\n    1 root      0:00 httpd -f\n    9 root      0:00 /tmp/implant a b\n",
        ),
        ("kill 9; ls /proc/9", 1, "ls: /proc/9: No such file or directory\n"),
        (
            "wget -q http://10.0.0.1/ && wget -q http://10.0.0.1:82/",
            1,
            "wget: can't connect to remote host (10.0.0.1): Connection refused\n",
        ),
        ("wget -q -T 1 http://10.0.0.1:81; nc -z x.invalid 80", 0, "wget: download timed out\n"),
        ("tar -cf - -C /tmp a | tar -tf -", 0, "a\n"),
        (
            "tar -c /q | (mkdir /r; cd /r; tar xf - ; find .)",
            0,
            "tar: removing leading '/' from member names\n.\n./q\n./q/z\n",
        ),
        ("printenv TOKEN; A=1 env | grep ^A", 0, "s3cret\nA=1\n"),
        (
            "which ls; ls /bin/nothing; nosuch",
            127,
            "/bin/ls\nls: /bin/nothing: No such file or directory\nsh: nosuch: not found\n",
        ),
        ("/bin/busybox echo b; busybox nosuch", 127, "b\nnosuch: applet not found\n"),
    ] {
        let (got, out, _) = exec(&c, &["sh", "-c", &format!("{{ {script}\n}} 2>&1")], "", false);
        assert_eq!((got, String::from_utf8_lossy(&out).as_ref()), (code, expected), "{script}");
    }
    assert_eq!(c.processes().iter().map(|p| p.pid).collect::<Vec<_>>(), [1, 12], "execs leave no process");
}

#[test]
fn what_is_not_there_is_not_started() {
    let c = container(r#"{"tools": [], "files": {"/app/data": {"text": "x"}}}"#);
    for (name, why) in [
        ("sh", "exec: \"sh\": executable file not found in $PATH"),
        ("/bin/sh", "exec: \"/bin/sh\": stat /bin/sh: no such file or directory"),
        ("/app/data", "exec: \"/app/data\": permission denied"),
    ] {
        let io = Io {
            stdin: Box::new(std::io::empty()),
            stdout: Box::new(std::io::sink()),
            stderr: Box::new(std::io::sink()),
            tty: false,
            cancel: Arc::default(),
        };
        let refused = c.exec(&[name.to_string()], io, &Some80).unwrap_err();
        let before = "OCI runtime exec failed: exec failed: unable to start container process: ";
        assert_eq!(refused.message, format!("{before}{why}"));
    }
}

#[test]
fn a_cancelled_exec_ends() {
    let c = container("{}");
    let cancel = Arc::new(AtomicBool::new(false));
    for script in ["sleep 1000", "while :; do :; done"] {
        cancel.store(false, Ordering::Relaxed);
        let io = Io {
            stdin: Box::new(std::io::empty()),
            stdout: Box::new(std::io::sink()),
            stderr: Box::new(std::io::sink()),
            tty: false,
            cancel: cancel.clone(),
        };
        std::thread::scope(|scope| {
            let run = scope.spawn(|| c.exec(&["sh".into(), "-c".into(), script.into()], io, &Some80));
            while c.processes().len() < 2 {
                std::thread::yield_now();
            }
            cancel.store(true, Ordering::Relaxed);
            assert_eq!(run.join().unwrap(), Ok(137), "{script}");
        });
    }
}

#[test]
fn a_user_has_no_more_rights_than_the_bits_give() {
    let c = container(r#"{"user": 1000, "files": {"/etc/shadow": {"text": "x", "mode": "0600"}}}"#);
    let (code, _, err) = exec(&c, &["cat", "/etc/shadow"], "", false);
    assert_eq!((code, err.as_str()), (1, "cat: can't open '/etc/shadow': Permission denied\n"));
    let (code, out, _) = exec(&c, &["sh", "-c", "echo x >/etc/y || echo x >/tmp/y && id"], "", false);
    assert_eq!((code, String::from_utf8_lossy(&out).as_ref()), (0, "uid=1000 gid=0(root) groups=0(root)\n"));
}

/// Data, notes, trailer of a collector's run.
fn collected(c: &Container, argv: &[&str]) -> (Vec<u8>, String, Trailer) {
    let (code, stream, err) = exec(c, argv, "ok\n", false);
    assert_eq!((code, err.as_str()), (0, ""), "{argv:?}");
    let (mut data, mut notes, mut trailer) = (Vec::new(), String::new(), None);
    Reader::new()
        .push::<String>(&stream, &mut |item| {
            match item {
                Item::Data(piece) => data.extend_from_slice(piece),
                Item::Note(note) => notes.push_str(&format!("{note:?}\n")),
                Item::Trailer(t) => trailer = Some(t),
                Item::Hello(hello) => assert_eq!(hello.argv, argv[1..]),
            }
            Ok(())
        })
        .unwrap();
    (data, notes, trailer.unwrap())
}

#[test]
fn the_collector_speaks_its_own_frames() {
    let target = Arc::new(container(INSIDE));
    let c = Container::collector(target.clone(), Facts { container_id: "cd".repeat(32), ..Facts::default() });
    let (data, _, trailer) = collected(&c, &["/quell-collector", "processes"]);
    let report: Report = serde_json::from_slice(&data).unwrap();
    assert_eq!((trailer.entries, report.processes.len()), (5, 5), "its own two are among them");
    let [web, implant, memfd, serve, own] = report.processes.as_slice() else { panic!() };
    assert!(serve.own && own.own && !web.own && own.cgroup[0].contains("cdcd"));
    assert!(implant.exe.deleted && implant.maps.deleted == ["/tmp/implant (deleted)"] && memfd.exe.memfd);
    assert_eq!(implant.exe.sha256.as_deref(), Some(programs::sha256(b"implanted").as_str()));
    assert_eq!((implant.cmdline[1].as_str(), implant.env_names.as_slice()), ("a b", ["KEY".to_string()].as_slice()));
    assert_eq!(implant.started, "2023-11-14T22:13:25.090Z");
    assert_eq!(implant.sockets[0].remote.as_deref(), Some("198.51.100.9:3333"));
    assert_eq!(web.sockets[0].state.as_deref(), Some("LISTEN"));
    assert!(web.cgroup[0].contains(&"ab".repeat(32)) && report.other_sockets.is_empty());

    let id = format!("containerd://{}", "ab".repeat(32));
    let mut argv = vec!["/quell-collector", "filesystem", "--container", &id];
    argv.extend(["--exclude", "/var/run/secrets/kubernetes.io:credentials", "--max-file", "50000"]);
    let (data, notes, trailer) = collected(&c, &argv);
    assert!(notes.contains("/app/big") && !trailer.complete && data.len() % 10_240 == 0);
    assert!(notes.contains(r#""/run/secrets/kubernetes.io", why: "credentials""#), "under its real name: {notes}");
    let mut archive = tar::Archive::new(data.as_slice());
    let names: Vec<String> =
        archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
    assert_eq!(names.len() as u64, trailer.entries);
    assert_eq!(names[..4], ["./", "app/", "app/.hidden", "app/link"]);
    assert!(names.contains(&"dev/pts/".to_string()) && !names.iter().any(|n| n.ends_with("token")));

    let (data, ..) = collected(&c, &["/quell-collector", "probe", "10.0.0.1:80", "10.0.0.1:81", "x:1"]);
    let attempts: serde_json::Value = serde_json::from_slice(&data).unwrap();
    let outcomes: Vec<&str> =
        attempts["attempts"].as_array().unwrap().iter().filter_map(|a| a["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["connected", "timeout", "invalid"]);
    let (code, _, err) = exec(&c, &["/quell-collector", "filesystem", "--container", &"ef".repeat(32)], "", false);
    assert!(code == 1 && err.contains("no process of container efef"), "{err}");
    target.end_process(1);
    assert!(!target.runs() && target.processes().is_empty());
}
