//! What may not lie in clear: environment variables and mounted credentials, in a drill on the embedded cluster.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The value of the Secret that the shipped drill's pod has in its environment.
const VALUE: &str = "correct-horse-battery";

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}

fn drilled(dir: &Path, recipients: &[String]) -> (Option<i32>, String) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks/drills/pod-compromise.yaml");
    let text = std::fs::read_to_string(shipped).unwrap();
    let given = text.replacen("inputs:\n", &format!("inputs:\n  recipients: \"{}\"\n", recipients.join(",")), 1);
    assert_ne!(text, given);
    let file = dir.join("sealed.yaml");
    std::fs::write(&file, given).unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_quell"))
        .env_clear()
        .env("HOME", dir)
        .env("USER", "tester")
        .args(["--state-dir", dir.join("state").to_str().unwrap(), "--json", "-q", "drill", "--auto"])
        .arg(&file)
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    (ran.status.code(), out)
}

#[test]
fn values_are_sealed_and_stand_nowhere_in_clear() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
    let (code, out) = drilled(dir.path(), &[one.to_public().to_string(), two.to_public().to_string()]);
    assert_eq!(code, Some(0), "{out}");
    assert!(!out.contains(VALUE));
    let all = files(&dir.path().join("state"));
    let named =
        |end: &str| all.iter().find(|p| p.to_string_lossy().ends_with(end)).unwrap_or_else(|| panic!("no {end}"));
    for identity in [&one, &two] {
        let clear = age::decrypt(identity, &std::fs::read(named("/app.environ.json.age")).unwrap()).unwrap();
        let document: Value = serde_json::from_slice(&clear).unwrap();
        let variables = document["processes"][0]["variables"].as_array().unwrap();
        assert!(variables.iter().any(|v| v[0] == "DB_PASSWORD" && v[1] == VALUE), "{variables:?}");
    }
    // The token that is mounted into every pod.
    let token = named("/app.credentials-var-run-secrets-kubernetes.io-serviceaccount.tar.age");
    let clear = age::decrypt(&one, &std::fs::read(token).unwrap()).unwrap();
    let mut archive = tar::Archive::new(clear.as_slice());
    let names: Vec<String> =
        archive.entries().unwrap().map(|e| String::from_utf8_lossy(&e.unwrap().path_bytes()).into_owned()).collect();
    assert!(names.iter().any(|n| n.ends_with("/token")), "{names:?}");
    let digests: Value = serde_json::from_slice(&std::fs::read(named("/app.environ.digests.json")).unwrap()).unwrap();
    let key = age::decrypt(&two, &std::fs::read(named("/digest.key.age")).unwrap()).unwrap();
    let expected = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key), VALUE.as_bytes());
    let expected: String = expected.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(digests["digests"]["1/DB_PASSWORD"], format!("hmac-sha256:{expected}"));
    for path in all {
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(VALUE.len()).any(|w| w == VALUE.as_bytes()), "{} holds it", path.display());
        let keyed = path.file_name().is_some_and(|n| n != "digest.key") && bytes.windows(key.len()).any(|w| w == key);
        assert!(!keyed, "{} holds the key of the digests", path.display());
    }
}

#[test]
fn what_is_no_public_key_is_refused_before_anything_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out) = drilled(dir.path(), &["age1nonsense".into()]);
    assert_eq!(code, Some(6), "{out}");
    assert!(out.contains("nothing was changed") && out.contains("age1nonsense") && out.contains("age-keygen"), "{out}");
}
