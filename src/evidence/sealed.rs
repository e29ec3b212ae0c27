//! What may not lie beside the rest in clear: encrypted before it reaches the disk, for people who are named
//! beforehand. What stays in clear of it is a keyed digest a value, by which a later one is told from the same.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ring::hmac;
use zeroize::Zeroizing;

use super::hex;
use crate::cluster::Problem;

/// The key of an incident's digests, in its folder and readable by its owner alone; it never goes into a bundle, for
/// with it short values could be guessed.
const KEY_FILE: &str = "digest.key";

/// Who can open what is sealed.
#[derive(Debug, Clone)]
pub struct Recipients(Vec<age::x25519::Recipient>);

impl Recipients {
    /// Parses `age1…` public keys. Empty ones are passed over; None when no other is left.
    ///
    /// # Errors
    /// What is no public key of age's X25519 kind, and what to give instead. A secret key is never repeated.
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Result<Option<Recipients>, String> {
        let mut all = Vec::new();
        for text in texts.iter().map(|t| t.as_ref().trim()).filter(|t| !t.is_empty()) {
            if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
                return Err(
                    "recipients: that is a SECRET key of age's: give the public one, `age1…`, and take this one \
                            for known to others, for command lines are"
                        .into(),
                );
            }
            let parsed = text.parse::<age::x25519::Recipient>();
            all.push(parsed.map_err(|why| {
                format!("recipients: {text:?} is no public key of age (`age-keygen` makes one, `age1…`): {why}")
            })?);
        }
        Ok((!all.is_empty()).then_some(Recipients(all)))
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The public keys.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// Seals, in age's own format (<https://age-encryption.org/v1>): any of the recipients opens it with `age -d`.
    ///
    /// # Errors
    /// Only when the system gives no random numbers.
    pub fn seal(&self, clear: &[u8]) -> Result<Vec<u8>, Problem> {
        let failed = |e: std::io::Error| Problem::failed(format!("can't seal: {e}"));
        let mut writer = self.wrap(Vec::with_capacity(clear.len() + 1024))?;
        writer.write_all(clear).map_err(failed)?;
        writer.finish().map_err(failed)
    }

    /// The same for a stream: what is written to it goes to `out` sealed. It must be finished.
    ///
    /// # Errors
    /// When the header can't be written, or the system gives no random numbers.
    pub fn wrap<W: Write>(&self, out: W) -> Result<age::stream::StreamWriter<W>, Problem> {
        let to = self.0.iter().map(|r| r as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(to).map_err(|e| Problem::failed(format!("can't seal: {e}")))?;
        encryptor.wrap_output(out).map_err(|e| Problem::failed(format!("can't seal: {e}")))
    }
}

/// HMAC-SHA256, lower-case hex: equal values have equal digests under one key, and a digest tells nothing to whoever
/// lacks it.
pub fn keyed_digest(key: &[u8], value: &[u8]) -> String {
    hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), value).as_ref())
}

/// The key of one incident's digests.
pub struct DigestKey(Zeroizing<Vec<u8>>);

impl DigestKey {
    /// The incident's, made when there is none yet.
    ///
    /// # Errors
    /// When it can't be read or written, or the system gives no random numbers.
    pub fn of(folder: &Path) -> Result<DigestKey, Problem> {
        let path = folder.join(KEY_FILE);
        let mut key = Zeroizing::new(Vec::new());
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match made {
            Ok(mut file) => {
                key.resize(32, 0);
                ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut key)
                    .map_err(|_| Problem::failed("the system gives no random numbers"))?;
                file.write_all(&key)
                    .and_then(|()| file.sync_all())
                    .map_err(|e| Problem::io("can't write the key of the digests", &path, &e))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                std::fs::File::open(&path)
                    .and_then(|f| f.take(64).read_to_end(&mut key))
                    .map_err(|e| Problem::io("can't read the key of the digests", &path, &e))?;
                if key.len() != 32 {
                    return Err(Problem::failed(format!("{} is no key of 32 bytes", path.display())).hint(
                        "an interruption may have cut it: move it away, digests made from then on have a new key",
                    ));
                }
            }
            Err(error) => return Err(Problem::io("can't write the key of the digests", &path, &error)),
        }
        Ok(DigestKey(key))
    }

    /// `hmac-sha256:…`: the same for the same value in this incident, telling nothing of it to whoever lacks the key.
    pub fn digest(&self, value: &[u8]) -> String {
        format!("hmac-sha256:{}", keyed_digest(&self.0, value))
    }

    /// The key itself, to be sealed.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn any_recipient_opens_it_and_nobody_else() {
        let (one, two, other) =
            (age::x25519::Identity::generate(), age::x25519::Identity::generate(), age::x25519::Identity::generate());
        let texts = [one.to_public().to_string(), two.to_public().to_string(), String::new()];
        let to = Recipients::parse(&texts).unwrap().unwrap();
        assert_eq!(to.count(), 2);
        let sealed = to.seal(b"correct-horse").unwrap();
        assert!(!sealed.windows(7).any(|w| w == b"correct"));
        for identity in [&one, &two] {
            assert_eq!(age::decrypt(identity, &sealed).unwrap(), b"correct-horse");
        }
        assert!(age::decrypt(&other, &sealed).is_err());
        assert!(Recipients::parse(&["", " "]).unwrap().is_none());
    }

    #[test]
    fn a_secret_key_is_refused_and_not_repeated() {
        use age::secrecy::ExposeSecret;
        let secret = age::x25519::Identity::generate().to_string().expose_secret().to_string();
        let why = Recipients::parse(&[&secret]).unwrap_err();
        assert!(why.contains("SECRET") && !why.contains(&secret[20..]), "{why}");
        assert!(Recipients::parse(&["ssh-ed25519 AAAA"]).unwrap_err().contains("age-keygen"));
    }

    #[test]
    fn digests_are_the_incidents_own() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = DigestKey::of(a.path()).unwrap();
        assert_eq!(first.digest(b"x"), DigestKey::of(a.path()).unwrap().digest(b"x"), "the key is kept");
        assert_ne!(first.digest(b"x"), first.digest(b"y"));
        assert_ne!(first.digest(b"x"), DigestKey::of(b.path()).unwrap().digest(b"x"));
        let mode = std::fs::metadata(a.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
