//! Values that an incident must remember and nobody may read in passing: the old credential for undo, the new one until
//! it stands in the Secret, and the key of the digests.
//!
//! They lie in the incident's folder under `sealed/`, mode 0600, encrypted; the bundle does not take them. The key lies
//! beside the incidents, in `keys/`, so that a folder that is copied or sent does not bring it along. Whoever can read
//! both as the responder can read them: this keeps values out of copies, searches and logs, not from the responder.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::{Zeroize, Zeroizing};

use super::Problem;
use crate::cluster::Cx;
use crate::evidence::sealed::keyed_digest;
use crate::evidence::segment;

/// Half encrypts, half is the digests' key.
const KEY: usize = 64;

/// Key → value of a Secret. No `Debug`, no `Display`: it can't slip into a message. Wiped when dropped.
#[derive(Default, Clone)]
pub(super) struct Values(pub BTreeMap<String, Vec<u8>>);

impl Drop for Values {
    fn drop(&mut self) {
        self.0.values_mut().for_each(Zeroize::zeroize);
    }
}

impl Values {
    /// The value as text; None when there is none or it is no UTF-8.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|v| std::str::from_utf8(v).ok())
    }

    /// The names of the keys.
    pub fn keys(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// With `other`'s laid over.
    pub fn with(&self, other: &Values) -> Values {
        let mut all = self.clone();
        all.0.extend(other.0.iter().map(|(k, v)| (k.clone(), v.clone())));
        all
    }

    fn packed(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::new());
        for (key, value) in &self.0 {
            for part in [key.as_bytes(), value.as_slice()] {
                out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(0).to_be_bytes());
                out.extend_from_slice(part);
            }
        }
        out
    }

    fn unpacked(mut bytes: &[u8]) -> Option<Values> {
        let mut next = || -> Option<Option<Vec<u8>>> {
            if bytes.is_empty() {
                return Some(None);
            }
            let (head, rest) = bytes.split_first_chunk::<4>()?;
            let length = u32::from_be_bytes(*head) as usize;
            let part = rest.get(..length)?.to_vec();
            bytes = &rest[length..];
            Some(Some(part))
        };
        let mut all = Values::default();
        while let Some(key) = next()? {
            all.0.insert(String::from_utf8(key).ok()?, next()??);
        }
        Some(all)
    }
}

/// One incident's sealed values.
pub(super) struct Vault {
    folder: PathBuf,
    key: Zeroizing<Vec<u8>>,
}

impl Vault {
    /// Opens it, or makes it.
    pub fn open(cx: &Cx) -> Result<Vault, Problem> {
        let (folder, key_file) = places(cx.store.root(), &cx.incident);
        let key = match fs::read(&key_file) {
            Ok(key) if key.len() == KEY => Zeroizing::new(key),
            Ok(_) => {
                return Err(Problem::failed(format!("{} is no key: it has another length", key_file.display()))
                    .hint("without it what was sealed in this incident can't be read"));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut key = Zeroizing::new(vec![0; KEY]);
                SystemRandom::new().fill(&mut key).map_err(|_| Problem::failed("the system gives no randomness"))?;
                write_new(&key_file, &key)?;
                key
            }
            Err(error) => return Err(Problem::io("can't read the key", &key_file, &error)),
        };
        Ok(Vault { folder, key })
    }

    /// Whether anything of that name is sealed, without the key.
    pub fn has(cx: &Cx, name: &str) -> bool {
        file(&places(cx.store.root(), &cx.incident).0, name).is_file()
    }

    /// Where it lies, for people.
    pub fn place(&self, name: &str) -> PathBuf {
        file(&self.folder, name)
    }

    /// Seals values under a name; what was there is replaced.
    pub fn put(&self, name: &str, values: &Values) -> Result<(), Problem> {
        let mut nonce = [0; NONCE_LEN];
        let refused = |_| Problem::failed("the system gives no randomness");
        SystemRandom::new().fill(&mut nonce).map_err(refused)?;
        let mut bytes = values.packed();
        let mut sealed = nonce.to_vec();
        let tag = self
            .cipher()?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(name.as_bytes()),
                bytes.as_mut_slice(),
            )
            .map_err(|_| Problem::internal("can't seal a value"))?;
        sealed.extend_from_slice(&bytes);
        sealed.extend_from_slice(tag.as_ref());
        write_new(&self.place(name), &sealed)
    }

    /// What is sealed under a name.
    pub fn get(&self, name: &str) -> Result<Option<Values>, Problem> {
        let path = self.place(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Problem::io("can't read", &path, &error)),
        };
        let broken = || {
            Problem::failed(format!("what is sealed in {} can't be opened", path.display()))
                .hint("its key is another one, or it was changed: the value is lost to quell")
        };
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>().ok_or_else(broken)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let open = self
            .cipher()?
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(name.as_bytes()), &mut sealed)
            .map_err(|_| broken())?;
        Ok(Some(Values::unpacked(open).ok_or_else(broken)?))
    }

    /// What is sealed under a name; an error when it is not there.
    pub fn need(&self, name: &str, what: &str) -> Result<Values, Problem> {
        self.get(name)?.ok_or_else(|| {
            Problem::failed(format!(
                "{what} is not sealed in this incident: {} is not there",
                self.place(name).display()
            ))
        })
    }

    /// Forgets it. Whether it was there.
    pub fn forget(&self, name: &str) -> Result<bool, Problem> {
        let path = self.place(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Problem::io("can't remove", &path, &error)),
        }
    }

    /// HMAC-SHA256 of a value under this incident's own key, hex: equal values have equal digests, within one incident
    /// only, and a digest tells nothing to whoever lacks the key.
    pub fn digest(&self, value: &[u8]) -> String {
        keyed_digest(&self.key[KEY / 2..], value)
    }

    /// The digest of all of a Secret's data.
    pub fn digest_of(&self, values: &Values) -> String {
        self.digest(&values.packed())
    }

    fn cipher(&self) -> Result<LessSafeKey, Problem> {
        let key = UnboundKey::new(&AES_256_GCM, &self.key[..KEY / 2]);
        key.map(LessSafeKey::new).map_err(|_| Problem::internal("a key of another length"))
    }
}

/// The incident's folder of sealed values, and the key's file: in `keys/` beside `incidents/`.
fn places(root: &Path, incident: &str) -> (PathBuf, PathBuf) {
    let folder = root.join("sealed");
    let beside = root.parent().filter(|p| p.file_name().is_some_and(|n| n == "incidents")).and_then(Path::parent);
    let key = match beside {
        Some(state) => state.join("keys").join(segment(incident)),
        None => folder.join("key"),
    };
    (folder, key)
}

fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{}.sealed", segment(name)))
}

/// Writes beside, syncs, renames: whole or not at all. For the owner alone.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let io = |e: std::io::Error| Problem::io("can't write", path, &e);
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    let partial = path.with_extension("partial");
    let _ = fs::remove_file(&partial);
    let mut out = fs::File::options().write(true).create_new(true).mode(0o600).open(&partial).map_err(io)?;
    out.write_all(bytes).and_then(|()| out.sync_all()).map_err(io)?;
    fs::rename(&partial, path).map_err(io)?;
    if let Ok(folder) = fs::File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::test_cx::{cx, status};
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        Values(pairs.iter().map(|(k, v)| ((*k).into(), v.as_bytes().to_vec())).collect())
    }

    #[tokio::test]
    async fn what_is_sealed_is_found_again_and_stands_nowhere_in_clear() {
        let state = tempfile::tempdir().unwrap();
        let root = state.path().join("incidents/one");
        fs::create_dir_all(&root).unwrap();
        let cx = cx(&root, |_| status(500, "InternalError", "not asked"));
        let vault = Vault::open(&cx).unwrap();
        vault.put("old", &values(&[("password", "correct-horse"), ("empty", "")])).unwrap();
        let again = Vault::open(&cx).unwrap();
        let found = again.get("old").unwrap().unwrap();
        assert_eq!((found.text("password"), found.text("empty")), (Some("correct-horse"), Some("")));
        assert_eq!(vault.digest(b"x"), again.digest(b"x"));
        assert!(Vault::has(&cx, "old") && !Vault::has(&cx, "new"));
        let key = state.path().join("keys").join(&cx.incident);
        for path in [vault.place("old"), key.clone()] {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
        }
        assert!(!fs::read(vault.place("old")).unwrap().windows(7).any(|w| w == b"correct"));

        // Another name, or another key, opens nothing.
        fs::copy(vault.place("old"), vault.place("new")).unwrap();
        assert!(vault.get("new").is_err());
        fs::write(&key, [7; KEY]).unwrap();
        let other = Vault::open(&cx).unwrap();
        assert!(other.get("old").is_err());
        assert_ne!(other.digest(b"x"), vault.digest(b"x"));
        assert!(vault.forget("old").unwrap() && !vault.forget("old").unwrap());
        assert!(vault.get("old").unwrap().is_none());
    }
}
