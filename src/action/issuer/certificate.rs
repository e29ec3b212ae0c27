//! `certificate`: a new key and a certificate for the same names, signed by a CA that is given as files.

use async_trait::async_trait;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use serde::Deserialize;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

use super::{Answer, Created, Job, Keep, Outlook, Provider, private_file};
use crate::action::Problem;
use crate::action::sealed::Values;
use crate::clock;
use crate::event::ObjectRef;

/// Settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Certificate {
    /// The CA's certificate, PEM.
    ca_file: String,
    /// Its key, PEM, mode 0600.
    ca_key_file: String,
    /// Days that the new one is valid. Default: as many as the old one was.
    days: Option<u16>,
}

/// What the old certificate says.
struct Old {
    common_name: Option<String>,
    names: Vec<SanType>,
    lasts: Duration,
    until: OffsetDateTime,
}

fn old(values: &Values) -> Result<Old, Problem> {
    let bad = |why: &str| Problem::failed(format!("tls.crt can't be read as a certificate: {why}"));
    let pem = values.0.get("tls.crt").ok_or_else(|| Problem::usage("the Secret has no key tls.crt"))?;
    let first = Pem::iter_from_buffer(pem).next().ok_or_else(|| bad("no PEM"))?.map_err(|e| bad(&e.to_string()))?;
    let cert = first.parse_x509().map_err(|e| bad(&e.to_string()))?;
    let mut names = Vec::new();
    if let Ok(Some(san)) = cert.subject_alternative_name() {
        for name in &san.value.general_names {
            match name {
                GeneralName::DNSName(dns) => {
                    names.push(SanType::DnsName((*dns).try_into().map_err(|_| bad("a name in it"))?));
                }
                GeneralName::URI(uri) => names.push(SanType::URI((*uri).try_into().map_err(|_| bad("a URI in it"))?)),
                GeneralName::RFC822Name(mail) => {
                    names.push(SanType::Rfc822Name((*mail).try_into().map_err(|_| bad("an address in it"))?));
                }
                GeneralName::IPAddress(bytes) => {
                    let ip = match bytes.len() {
                        4 => <[u8; 4]>::try_from(*bytes).map(Into::into).ok(),
                        16 => <[u8; 16]>::try_from(*bytes).map(Into::into).ok(),
                        _ => None,
                    };
                    names.push(SanType::IpAddress(ip.ok_or_else(|| bad("an address in it"))?));
                }
                other => return Err(bad(&format!("it has a name of a kind that is not carried over: {other}"))),
            }
        }
    }
    let common_name = cert.subject().iter_common_name().next().and_then(|c| c.as_str().ok()).map(Into::into);
    let validity = cert.validity();
    let until = validity.not_after.to_datetime();
    Ok(Old { common_name, names, lasts: until - validity.not_before.to_datetime(), until })
}

/// Until when the certificate in the values is valid, as RFC 3339; None where it can't be read.
pub(super) fn valid_until(values: &Values) -> Option<String> {
    old(values).ok().map(|old| clock::rfc3339(old.until))
}

impl Certificate {
    fn ca(&self) -> Result<(String, KeyPair), Problem> {
        let at = std::path::Path::new(&self.ca_file);
        let cert = std::fs::read_to_string(at).map_err(|e| Problem::io("can't read the CA's certificate", at, &e))?;
        let key = private_file(&self.ca_key_file, "the CA's key")?;
        let key = std::str::from_utf8(&key).map_err(|_| Problem::usage("the CA's key is no PEM"))?;
        let key = KeyPair::from_pem(key)
            .map_err(|_| Problem::usage(format!("{} is no key that can sign (PKCS#8 PEM)", self.ca_key_file)))?;
        Ok((cert, key))
    }
}

#[async_trait]
impl Provider for Certificate {
    async fn look(&self, job: &Job<'_>, values: Option<&Values>) -> Result<Outlook, Problem> {
        let mut outlook = Outlook {
            object: ObjectRef { kind: "Certificate".into(), name: job.secret.name.clone(), ..ObjectRef::default() },
            summary: format!("sign a certificate with a new key by the CA in {}", self.ca_file),
            keys: vec!["tls.crt".into(), "tls.key".into()],
            ..Outlook::default()
        };
        if let Err(problem) = self.ca() {
            outlook.blockers.push(problem.message);
        }
        match values.map(old) {
            Some(Ok(old)) => outlook.warnings.push(format!(
                "the old certificate is valid until {}: only who checks a revocation list or OCSP of its CA learns of its \
                 end before",
                clock::rfc3339(old.until)
            )),
            Some(Err(problem)) => outlook.blockers.push(problem.message),
            None => {}
        }
        Ok(outlook)
    }

    async fn create(
        &self,
        job: &Job<'_>,
        values: &Values,
        _prepared: Option<Values>,
        _keep: &Keep<'_>,
    ) -> Result<Created, Problem> {
        let was = old(values)?;
        let (ca, ca_key) = self.ca()?;
        let fail = |e: rcgen::Error| Problem::failed(format!("the certificate can't be signed: {e}"));
        let issuer = Issuer::from_ca_cert_pem(&ca, &ca_key).map_err(fail)?;
        let key = KeyPair::generate().map_err(fail)?;
        let mut params = CertificateParams::default();
        params.subject_alt_names = was.names;
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = was.common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        let now = job.cx.clock.now();
        // A minute back: a peer's clock may be behind.
        params.not_before = now - Duration::minutes(1);
        params.not_after = now + self.days.map_or(was.lasts, |d| Duration::days(d.into()));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let until = clock::rfc3339(params.not_after);
        let signed = params.signed_by(&key, &issuer).map_err(fail)?;
        let mut new = Values::default();
        new.0.insert("tls.crt".into(), (signed.pem() + &ca).into_bytes());
        new.0.insert("tls.key".into(), key.serialize_pem().into_bytes());
        Ok(Created {
            values: new,
            said: format!("a certificate with a new key is signed, valid until {until}"),
            detail: json!({ "old_until": clock::rfc3339(was.until) }),
            secret: None,
        })
    }

    /// Nobody else was told: another one is signed.
    async fn find(&self, _: &Job<'_>, _: &Values) -> Result<Option<Created>, Answer> {
        Ok(None)
    }

    async fn remove(&self, _: &Job<'_>, _: &Values, _: &Value) -> Result<String, Problem> {
        Ok("the new key is forgotten; its certificate stays valid, and useless without the key".into())
    }

    async fn revoke(&self, _: &Job<'_>, _: &Values, detail: &Value, _: bool) -> Result<Answer, Problem> {
        Ok(Answer::Unknown(format!(
            "a certificate can only be revoked by its CA's list: put the old one on it; else it is valid until {}",
            detail["old_until"].as_str().unwrap_or("it expires")
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::test_cx::{cx, status};
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn the_new_certificate_has_the_old_names_another_key_and_the_cas_signature() {
        let folder = tempfile::tempdir().unwrap();
        let ca_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test CA");
        let ca = params.self_signed(&ca_key).unwrap();
        let (ca_file, key_file) = (folder.path().join("ca.pem"), folder.path().join("ca.key"));
        std::fs::write(&ca_file, ca.pem()).unwrap();
        std::fs::write(&key_file, ca_key.serialize_pem()).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&ca.pem(), &ca_key).unwrap();
        let leaf_key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec!["shop.example".to_owned(), "10.0.0.1".into()]).unwrap();
        leaf.distinguished_name.push(DnType::CommonName, "shop");
        let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
        let values = Values(
            [("tls.crt", leaf.pem()), ("tls.key", leaf_key.serialize_pem())]
                .map(|(k, v)| (k.to_owned(), v.into_bytes()))
                .into(),
        );
        let cx = cx(folder.path(), |_| status(500, "InternalError", "not asked"));
        let secret = ObjectRef { name: "tls".into(), ..ObjectRef::default() };
        let job = Job { cx: &cx, secret: &secret, kind: "kubernetes.io/tls", request: "r" };
        let settings = json!({"ca-file": ca_file, "ca-key-file": key_file, "days": 30});
        let provider: Certificate = serde_json::from_value(settings).unwrap();
        std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(provider.look(&job, Some(&values)).await.unwrap().blockers[0].contains("read by others"));
        std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(provider.look(&job, Some(&values)).await.unwrap().blockers.is_empty());
        let made = provider.create(&job, &values, None, &|_| Ok(())).await.unwrap();
        let pem = made.values.text("tls.crt").unwrap().to_owned();
        assert_ne!(made.values.text("tls.key"), values.text("tls.key"));
        let again = old(&made.values).unwrap();
        assert_eq!((again.names.len(), again.common_name.as_deref()), (2, Some("shop")));
        assert_eq!(again.lasts, Duration::days(30) + Duration::minutes(1));
        let first = Pem::iter_from_buffer(pem.as_bytes()).next().unwrap().unwrap();
        let ca = Pem::iter_from_buffer(ca.pem().into_bytes().leak()).next().unwrap().unwrap();
        let ca = ca.parse_x509().unwrap();
        assert_eq!(first.parse_x509().unwrap().issuer(), ca.subject());
    }
}
