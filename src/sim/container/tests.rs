use std::sync::atomic::AtomicBool;

use super::*;

struct Nowhere;

impl Net for Nowhere {
    fn dial(&self, _: &str, _: Duration) -> Result<(), String> {
        Err("connection timed out".into())
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn container() -> Container {
    let inside: Inside = serde_json::from_value(serde_json::json!({
        "files": {"/app/secret.txt": {"text": "one\ntwo\n"}, "/app/link": {"symlink": "/app/secret.txt"}},
        "processes": [{"pid": 1, "cmdline": ["httpd"], "sockets": ["10.0.0.5:4000 -> 198.51.100.9:3333"]}],
    }))
    .unwrap();
    Container::new(
        &inside,
        Facts { hostname: "web-1".into(), container_id: "ab".repeat(32), started: 1_700_000_000, ..Facts::default() },
    )
}

fn run(container: &Container, argv: &[&str], input: &str) -> (i32, String, String) {
    let (out, err) = (Shared::default(), Shared::default());
    let io = Io {
        stdin: Box::new(std::io::Cursor::new(input.as_bytes().to_vec())),
        stdout: Box::new(out.clone()),
        stderr: Box::new(err.clone()),
        tty: false,
        cancel: Arc::new(AtomicBool::new(false)),
    };
    let argv: Vec<String> = argv.iter().map(|a| (*a).into()).collect();
    let code = container.exec(&argv, io, &Nowhere).unwrap_or_else(|e| panic!("{}", e.message));
    let text = |shared: Shared| String::from_utf8_lossy(&shared.0.lock().unwrap()).into_owned();
    (code, text(out), text(err))
}

#[test]
fn commands_pipes_and_redirections() {
    let c = container();
    for (script, code, out) in [
        ("cat /app/link | grep two", 0, "two\n"),
        ("cat /none || echo gone", 0, "gone\n"),
        ("true && hostname; false", 1, "web-1\n"),
        ("X=a; echo \"$X ${Y:-b}\" '$X' $?", 0, "a b $X 0\n"),
        ("echo hi >/tmp/a; echo ho >>/tmp/a; cat /tmp/a", 0, "hi\nho\n"),
        ("cd /app; pwd; ls", 0, "/app\nlink\nsecret.txt\n"),
        ("for x in a; do echo; done", 2, ""),
        ("echo $(id)", 2, ""),
        ("nosuch", 127, ""),
        ("cat /proc/1/cmdline", 0, "httpd\0"),
        ("readlink /proc/1/fd/3", 0, "socket:[40000]\n"),
    ] {
        let (got, text, err) = run(&c, &["sh", "-c", script], "");
        assert_eq!((got, text.as_str()), (code, out), "{script}: {err}");
    }
    assert_eq!(run(&c, &["sh"], "echo one\nexit 3\necho two\n").0, 3);
}

#[test]
fn without_a_shell_nothing_starts() {
    let inside: Inside = serde_json::from_value(serde_json::json!({"tools": []})).unwrap();
    let c = Container::new(&inside, Facts::default());
    let io = Io {
        stdin: Box::new(std::io::empty()),
        stdout: Box::new(std::io::sink()),
        stderr: Box::new(std::io::sink()),
        tty: false,
        cancel: Arc::default(),
    };
    let refused = c.exec(&["sh".to_string()], io, &Nowhere).err().unwrap();
    assert!(refused.message.ends_with("exec: \"sh\": executable file not found in $PATH"), "{}", refused.message);
}

#[test]
fn the_collector_speaks_its_own_frames() {
    use crate::collector::wire::{Item, Reader};
    let target = Arc::new(container());
    target.start_process(&["/tmp/x".into()], Some("198.51.100.9:3333"), true);
    let c = Container::collector(target, Facts::default());
    for (argv, needle) in [
        (vec!["/quell-collector", "processes"], "198.51.100.9:3333"),
        (vec!["/quell-collector", "filesystem", "--root", "/proc/1/root"], "app/secret.txt"),
    ] {
        let out = Shared::default();
        let io = Io {
            stdin: Box::new(std::io::empty()),
            stdout: Box::new(out.clone()),
            stderr: Box::new(std::io::sink()),
            tty: false,
            cancel: Arc::default(),
        };
        let argv: Vec<String> = argv.into_iter().map(Into::into).collect();
        assert_eq!(c.exec(&argv, io, &Nowhere).unwrap_or(9), 0);
        let (mut reader, mut data) = (Reader::new(), Vec::new());
        let bytes = out.0.lock().unwrap().clone();
        reader
            .push::<String>(&bytes, &mut |item| {
                if let Item::Data(piece) = item {
                    data.extend_from_slice(piece);
                }
                Ok(())
            })
            .unwrap();
        assert!(reader.ended() && String::from_utf8_lossy(&data).contains(needle), "{argv:?}");
    }
}
