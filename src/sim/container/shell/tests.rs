//! The shell's language. What is expected here is what dash prints.

use super::super::tests::{container, exec};

const SCRIPTS: &[(&str, i32, &str)] = &[
    ("X=a; echo \"$X ${Y:-b}\" '$X' $?; false; echo $?", 0, "a b $X 0\n1\n"),
    ("x=/a/b.tar.gz; echo ${x##*/} ${x#*/} ${x%.*} ${x%%.*} ${#x}", 0, "b.tar.gz a/b.tar.gz /a/b.tar /a/b 11\n"),
    ("x='a.b'; y='*'; echo ${x%\"$y\"} \"${x#$y.}\"", 0, "a.b b\n"),
    (
        "set -- a 'b c' d; for e do echo \"<$e>\"; done; echo $# \"$*\"; shift; echo \"$1\"",
        0,
        "<a>\n<b c>\n<d>\n3 a b c d\nb c\n",
    ),
    ("f() { echo \"$#:$1\"; return 3; }; f \"x y\" z; echo $?", 0, "2:x y\n3\n"),
    ("set --; for x in \"$@\"; do echo never; done; set -- \"\" ; echo $#", 0, "1\n"),
    ("i=0; while [ $i -lt 5 ]; do i=$((i+1)); [ $i = 2 ] && continue; [ $i = 4 ] && break; echo $i; done", 0, "1\n3\n"),
    ("until false; do break; done; if false; then echo a; elif true; then echo b; else echo c; fi", 0, "b\n"),
    ("case abc in x|a*c) echo yes;; *) echo no;; esac; case a in b) ;; esac; echo $?", 0, "yes\n0\n"),
    (
        "printf 'a b\\n  c\\\\d \\nlast' | while IFS= read -r l || [ -n \"$l\" ]; do echo \"<$l>\"; done",
        0,
        "<a b>\n<  c\\d >\n<last>\n",
    ),
    ("printf 'k:v:w\\n' | { IFS=: read a b; echo \"$a|$b\"; }", 0, "k|v:w\n"),
    ("echo $(echo a; echo b) \"`echo \"x  y\"`\"", 0, "a b x  y\n"),
    ("(exit 3); echo $?; { echo in; exit 4; }; echo never", 4, "3\nin\n"),
    ("! true; echo $?; true && ! false && echo ok || echo no", 0, "1\nok\n"),
    ("a=1; (a=2; echo $a); echo $a; a=3 eval 'echo $a'; cd /tmp; pwd -P", 0, "2\n1\n3\n/tmp\n"),
    ("echo hi >/tmp/r; echo ho >>/tmp/r; cat </tmp/r; { echo e >&2; } 2>&1; echo x 2>/dev/null >&2", 0, "hi\nho\ne\n"),
    ("{ { echo a; echo b >&3; } | tr a z; } 3>&1", 0, "b\nz\n"),
    ("cat <<E\n$((2*3+1)) \"q\"\nE\ncat <<'E'\n$x\nE", 0, "7 \"q\"\n$x\n"),
    ("cd /tmp; echo 1 >g1; echo 2 >g2; echo g? \"g*\" zz*; echo /tm[p]", 0, "g1 g2 g* zz*\n/tmp\n"),
    ("x='a  b'; echo $x \"$x\"; IFS=,; y=1,2; echo $y", 0, "a b a  b\n1 2\n"),
    (
        "command -v cd; command -v nosuch || echo none; [ -e /tmp ] && test ! -f /tmp -a -d /tmp && echo d",
        0,
        "cd\nnone\nd\n",
    ),
    ("export E=1; sh -c 'echo $E$N-$1' name arg; N=2 sh -c 'echo $N'", 0, "1-arg\n2\n"),
    ("echo a # no\necho 'b' \\\n c", 0, "a\nb c\n"),
    ("x=$(false) || echo failed; echo ${u-unset} ${x:+set}${x+S}", 0, "failed\nunset S\n"),
    ("echo $((7/2)) $(( (1+2)*3 > 8 && 1 )) $((010 % 3))", 0, "3 1 2\n"),
    ("exec 2>&1; nosuch/prog; echo ${x?gone}; echo never", 2, "sh: nosuch/prog: not found\nsh: x: gone\n"),
    ("readonly_=1; unset readonly_; echo ${readonly_-u}; exec echo last; echo never", 0, "u\nlast\n"),
];

#[test]
fn scripts_do_what_they_do_in_dash() {
    let c = container("{}");
    for (script, code, expected) in SCRIPTS {
        let (got, out, err) = exec(&c, &["sh", "-c", script], "", false);
        assert_eq!((got, String::from_utf8_lossy(&out).as_ref()), (*code, *expected), "{script}: {err}");
    }
}

#[test]
fn what_is_no_script_is_said() {
    let c = container("{}");
    let deep = format!("{}true{}", "(".repeat(500), ")".repeat(500));
    let calls = "f() { f; }; f";
    for script in [
        "if true; then",
        "fi",
        "echo 'x",
        "a | | b",
        "for 1 in a; do :; done",
        "echo ${x",
        "((",
        ")",
        "case",
        "x () {",
        &deep,
        calls,
    ] {
        let (code, _, err) = exec(&c, &["sh", "-c", script], "", false);
        assert!(code == 2 && err.lines().count() == 1, "{script}: {code} {err}");
    }
}

#[test]
fn lines_are_read_as_they_are_typed() {
    let c = container("{}");
    let (code, out, _) =
        exec(&c, &["sh"], "echo one\nread x\ntyped\necho \"$x\"\nif true\nthen echo two\nfi\nexit 3\n", false);
    assert_eq!((code, String::from_utf8_lossy(&out).as_ref()), (3, "one\ntyped\ntwo\n"));
    let (code, out, _) = exec(&c, &["sh"], "echo oops\x7f\x7f\rcat\rx\r\x04\x04", true);
    let expected = "/ # echo oops\x08 \x08\x08 \x08\r\noo\r\n/ # cat\r\nx\r\nx\r\n/ # ";
    assert_eq!((code, String::from_utf8_lossy(&out).as_ref()), (0, expected));
}

#[test]
fn what_calls_itself_ends() {
    let c = container(r##"{"files": {"/self": {"text": "#!/bin/sh\n/self", "mode": "755"}}}"##);
    let again = format!("{} true", "env ".repeat(2000));
    for script in ["f() { echo $(f); }; f", "f() { (f) | cat; }; f", "/self", "g() { eval g; }; g", &again] {
        let (_, _, err) = exec(&c, &["sh", "-c", script], "", false);
        assert!(err.contains("nested too deeply"), "{script}: {err}");
    }
    let deep = format!("mkdir -p {}", "a/".repeat(300));
    assert!(exec(&c, &["sh", "-c", &deep], "", false).2.contains("File name too long"));
}
