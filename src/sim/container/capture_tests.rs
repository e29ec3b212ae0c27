//! The scripts by which quell takes a container's files and processes with the container's own programs, as they are.

use super::programs::sha256;
use super::tests::{INSIDE, container, exec};

const ARCHIVE: &str = r#"
take() {
cd / || return 1
N='
'
X=$N
for e do
  X="$X$e$N"
  p=$(cd -P "$e" 2>/dev/null && pwd -P) && X="$X.$p$N"
done
set --
W=".$N"
while [ -n "$W" ]; do
  d=${W%%"$N"*}
  W=${W#*"$N"}
  for f in "$d"/* "$d"/.[!.]* "$d"/..?*; do
    [ -e "$f" ] || [ -L "$f" ] || continue
    case $X in
      *"$N$f$N"*) ;;
      *"$N$f/"*) if [ -d "$f" ] && [ ! -L "$f" ]; then W="$W$f$N"; else set -- "$@" "$f"; fi;;
      *) set -- "$@" "$f";;
    esac
  done
done
tar -cf - "$@"
}"#;

const PROCESSES: &str = r#"
lines() { while IFS= read -r l || [ -n "$l" ]; do echo "$1 $l"; done; }
take() {
while IFS= read -r l; do case $l in btime*) echo "boot $l";; esac; done </proc/stat
for d in /proc/[0-9]*; do
  [ -r "$d/stat" ] || continue
  echo "pid ${d#/proc/}"
  lines stat <"$d/stat"
  lines status <"$d/status"
  tr '\000\n' '\n ' <"$d/cmdline" | lines arg
  tr '\000\n' '\n ' <"$d/environ" | while IFS= read -r l; do case $l in *=*) echo "env ${l%%=*}";; esac; done
  lines cgroup <"$d/cgroup"
  echo "exe $(readlink "$d/exe")"
  echo "hash $(sha256sum <"$d/exe")"
  echo "cwd $(readlink "$d/cwd")"
  echo "root $(readlink "$d/root")"
  for f in "$d"/fd/*; do echo "fd ${f##*/} $(readlink "$f")"; done
done 2>/dev/null
for t in tcp tcp6 udp udp6 raw raw6 unix; do lines "net $t" <"/proc/net/$t"; done 2>/dev/null
echo end
}"#;

const RUN: &str = r#"
has() { command -v "$1" >/dev/null 2>&1; }
if has tee && has sha256sum && has cat && [ -e /dev/fd/0 ]
then { { { take "$@"; echo "quell-exit $?" >&2; } | tee /dev/fd/3 | sha256sum >&2; } 3>&1 | cat; }
else take "$@"; echo "quell-exit $?" >&2
fi
echo quell-end >&2
read -r _ || :
"#;

/// Standard output, and the hash, exit code and other lines that the script says on standard error.
fn take(inside: &str, script: &str, args: &[&str]) -> (Vec<u8>, Option<String>, Option<i32>, String) {
    let c = container(inside);
    let script = format!("{script}\n{RUN}");
    let argv = [["sh", "-c", &script, "quell"].as_slice(), args].concat();
    let (code, out, err) = exec(&c, &argv, "ok\n", false);
    assert_eq!(code, 0, "{err}");
    assert!(err.ends_with("quell-end\n"), "{err}");
    let hash = err.lines().find_map(|l| l.strip_suffix("  -").map(Into::into));
    let exit = err.lines().find_map(|l| l.strip_prefix("quell-exit ")?.parse().ok());
    let rest = err.lines().filter(|l| !l.ends_with("  -") && !l.starts_with("quell-")).collect::<Vec<_>>().join("\n");
    (out, hash, exit, rest)
}

#[test]
fn the_files_are_taken() {
    let args = ["./proc", "./sys", "./dev", "./var/run/secrets/kubernetes.io", "./nowhere"];
    let (out, hash, exit, rest) = take(INSIDE, ARCHIVE, &args);
    assert_eq!((exit, rest.as_str()), (Some(0), ""));
    assert_eq!(hash, Some(sha256(&out)));
    assert!(out.len() > 70_000 && out.ends_with(&[0; 1024]));
    let mut archive = tar::Archive::new(out.as_slice());
    let names: Vec<String> =
        archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
    for name in ["./app/.hidden", "./app/link", "./app/secret.txt", "./bin/sh", "./var/run", "./run/secrets/"] {
        let there = names.iter().any(|n: &String| n.trim_end_matches('/') == name.trim_end_matches('/'));
        assert_eq!(there, name != "./run/secrets/", "{name}: {names:?}");
    }
    let out_of = ["./proc", "./dev", "kubernetes.io"];
    assert!(!names.iter().any(|n| out_of.iter().any(|o| n.contains(o))), "{names:?}");
}

#[test]
fn the_processes_are_taken() {
    let (out, hash, exit, rest) = take(INSIDE, PROCESSES, &[]);
    assert_eq!((exit, rest.as_str()), (Some(0), ""));
    assert_eq!(hash, Some(sha256(&out)));
    let text = String::from_utf8(out).unwrap();
    let implant = text.split("pid ").find(|p| p.starts_with("9\n")).unwrap();
    for line in [
        "stat 9 (implant) S 1 ",
        "status Name:\timplant",
        "arg /tmp/implant\narg a b\nenv KEY\ncgroup 0::/",
        "exe /tmp/implant (deleted)",
        &format!("hash {}  -", sha256(b"implanted")),
        "cwd /\nroot /\nfd 0 /dev/null",
        "fd 3 socket:[400",
    ] {
        assert!(implant.contains(line), "{line}: {implant}");
    }
    assert!(text.starts_with("boot btime 1699913600\npid 1\n") && text.ends_with("\nend\n"), "{text}");
    assert!(text.contains("0500F40A:0FA0 096433C6:0D05 01 ") && text.contains("net unix Num"), "{text}");
}

#[test]
fn without_some_programs_it_is_said() {
    let (out, hash, exit, rest) = take(r#"{"tools": ["sh", "tar"]}"#, ARCHIVE, &["./proc", "./sys", "./dev"]);
    assert!(hash.is_none() && exit == Some(0) && rest.is_empty() && out.ends_with(&[0; 1024]));
    let (out, _, exit, rest) = take(r#"{"tools": ["sh"]}"#, ARCHIVE, &["./proc"]);
    assert_eq!((out.len(), exit, rest.as_str()), (0, Some(127), "quell: tar: not found"));
}
