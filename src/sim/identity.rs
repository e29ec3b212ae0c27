//! Who is asking: client certificates, bearer tokens of users, and tokens of service accounts that die as real ones do.

use std::collections::{BTreeMap, HashMap};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::Duration;

use super::answer::{Refusal, Result, details};
use super::resource::Resource;
use super::store::Key;
use super::world::World;

/// Who issues tokens, and their usual audience.
pub const ISSUER: &str = "https://kubernetes.default.svc";

/// A user, as authorization and the audit log see it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct User {
    /// `system:serviceaccount:shop:web`.
    pub name: String,
    /// UID; empty for users of certificates.
    pub uid: String,
    /// Groups, `system:authenticated` among them.
    pub groups: Vec<String>,
    /// Extra.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user with these groups beside `system:authenticated`.
    pub fn new(name: &str, groups: &[&str]) -> User {
        let mut all: Vec<String> = groups.iter().map(|g| (*g).into()).collect();
        all.push("system:authenticated".into());
        User { name: name.into(), groups: all, ..User::default() }
    }

    /// Who gave no credentials.
    pub fn anonymous() -> User {
        User { name: "system:anonymous".into(), groups: vec!["system:unauthenticated".into()], ..User::default() }
    }

    /// The UserInfo object.
    pub fn info(&self) -> Value {
        let mut info = json!({"username": self.name, "groups": self.groups});
        if !self.uid.is_empty() {
            info["uid"] = json!(self.uid);
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }
}

/// The credentials that the cluster accepts.
pub struct Identities {
    key: hmac::Key,
    tokens: HashMap<String, User>,
    /// By SHA-256 of the client certificate.
    certificates: HashMap<String, User>,
}

impl Identities {
    /// None yet; `secret` signs the tokens of service accounts.
    pub fn new(secret: &[u8]) -> Identities {
        Identities {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            tokens: HashMap::new(),
            certificates: HashMap::new(),
        }
    }

    /// Accepts a fixed bearer token.
    pub fn add_token(&mut self, token: &str, user: User) {
        self.tokens.insert(token.into(), user);
    }

    /// Accepts a client certificate, in DER.
    pub fn add_certificate(&mut self, der: &[u8], mut user: User) {
        let hash = hex(&Sha256::digest(der));
        user.extra.insert("authentication.kubernetes.io/credential-id".into(), vec![format!("X509SHA256={hash}")]);
        self.certificates.insert(hash, user);
    }

    /// The certificate's user.
    pub fn certificate(&self, der: &[u8]) -> Option<User> {
        self.certificates.get(&hex(&Sha256::digest(der))).cloned()
    }

    fn sign(&self, claims: &Value) -> String {
        let head = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "kid": "embedded"}).to_string());
        let body = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let tag = hmac::sign(&self.key, body.as_bytes());
        format!("{body}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    }

    fn claims(&self, token: &str) -> Option<Value> {
        let (body, tag) = token.rsplit_once('.')?;
        hmac::verify(&self.key, body.as_bytes(), &URL_SAFE_NO_PAD.decode(tag).ok()?).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body.split('.').nth(1)?).ok()?).ok()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl World {
    /// Whose token this is; None for one that is not, or no longer, good.
    pub fn token_user(&self, token: &str, audiences: &[String]) -> Option<(User, Vec<String>)> {
        if let Some(user) = self.identities.tokens.get(token) {
            return Some((user.clone(), vec![ISSUER.into()]));
        }
        let claims = self.identities.claims(token)?;
        let now = self.now().unix_timestamp();
        if claims["exp"].as_i64().is_some_and(|exp| exp <= now) {
            return None;
        }
        let usual = [ISSUER.to_string()];
        let wanted = if audiences.is_empty() { &usual[..] } else { audiences };
        let bound = &claims["kubernetes.io"];
        let legacy = bound.is_null();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let (namespace, account, uid) = if legacy {
            (
                text(&claims["kubernetes.io/serviceaccount/namespace"]),
                text(&claims["kubernetes.io/serviceaccount/service-account.name"]),
                text(&claims["kubernetes.io/serviceaccount/service-account.uid"]),
            )
        } else {
            (text(&bound["namespace"]), text(&bound["serviceaccount"]["name"]), text(&bound["serviceaccount"]["uid"]))
        };
        let matched: Vec<String> = claims["aud"]
            .as_array()
            .map(|all| all.iter().map(text).filter(|a| wanted.contains(a)).collect())
            .unwrap_or_else(|| wanted.to_vec());
        if matched.is_empty() || self.store.get(&Key::new("serviceaccounts", &namespace, &account))?.uid != uid {
            return None;
        }
        let mut extra = BTreeMap::new();
        if let Some(id) = claims["jti"].as_str() {
            extra.insert("authentication.kubernetes.io/credential-id".to_string(), vec![format!("JTI={id}")]);
        }
        for (what, of) in [("pod", "pods"), ("secret", "secrets"), ("node", "nodes")] {
            let Some(name) = bound[what]["name"].as_str() else { continue };
            let at = Key::new(of, if what == "node" { "" } else { &namespace }, name);
            let entry = self.store.get(&at);
            // The name of a node is a mere fact when the token is bound to a pod.
            let counts = what != "node" || bound["pod"].is_null();
            if counts && entry.is_none_or(|e| bound[what]["uid"] != e.uid.as_str()) {
                return None;
            }
            extra.insert(format!("authentication.kubernetes.io/{what}-name"), vec![name.to_string()]);
            extra.insert(format!("authentication.kubernetes.io/{what}-uid"), vec![text(&bound[what]["uid"])]);
        }
        if legacy {
            let secret = text(&claims["kubernetes.io/serviceaccount/secret.name"]);
            let key = Key::new("secrets", &namespace, &secret);
            let held = self.store.value(&key)?;
            use base64::engine::general_purpose::STANDARD;
            if held["data"]["token"].as_str() != Some(STANDARD.encode(token).as_str()) {
                return None;
            }
        }
        let user = User {
            name: format!("system:serviceaccount:{namespace}:{account}"),
            uid,
            groups: vec![
                "system:serviceaccounts".into(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".into(),
            ],
            extra,
        };
        Some((user, matched))
    }

    /// The token of a Secret of type kubernetes.io/service-account-token: it never expires.
    pub fn legacy_token(&self, namespace: &str, account: &str, uid: &str, secret: &str) -> String {
        self.identities.sign(&json!({
            "iss": "kubernetes/serviceaccount", "sub": format!("system:serviceaccount:{namespace}:{account}"),
            "kubernetes.io/serviceaccount/namespace": namespace, "kubernetes.io/serviceaccount/secret.name": secret,
            "kubernetes.io/serviceaccount/service-account.name": account, "kubernetes.io/serviceaccount/service-account.uid": uid,
        }))
    }

    /// A token for a pod's own projected volume.
    pub fn pod_token(&mut self, namespace: &str, account: &str, pod: &Value) -> Option<String> {
        let uid = self.store.get(&Key::new("serviceaccounts", namespace, account))?.uid.clone();
        let now = self.now().unix_timestamp();
        let mut bound = json!({"namespace": namespace, "serviceaccount": {"name": account, "uid": uid},
            "pod": {"name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}});
        if let Some(node) = pod["spec"]["nodeName"].as_str()
            && let Some(entry) = self.store.get(&Key::new("nodes", "", node))
        {
            bound["node"] = json!({"name": node, "uid": entry.uid});
        }
        let jti = self.random.uuid();
        Some(
            self.identities
                .sign(&json!({"aud": [ISSUER], "exp": now + 3607, "iat": now, "nbf": now, "iss": ISSUER, "jti": jti,
            "kubernetes.io": bound, "sub": format!("system:serviceaccount:{namespace}:{account}")})),
        )
    }

    /// TokenRequest for a service account: the answered object, and the credential's id for the audit log.
    ///
    /// # Errors
    /// As the server refuses.
    pub fn token_request(&mut self, accounts: &Resource, key: &Key, asked: &Value) -> Result<(Value, String)> {
        let account = self.store.get(key).ok_or_else(|| Refusal::not_found(accounts, &key.name))?.clone();
        let spec = &asked["spec"];
        let wanted = spec["expirationSeconds"].as_i64().unwrap_or(3600);
        let invalid = |field: &str, message: String| {
            let causes = [("FieldValueInvalid".to_string(), message, field.to_string())];
            Refusal::invalid(&request_kind(), "", &causes)
        };
        if wanted < 600 {
            let message = format!("Invalid value: {wanted}: may not specify a duration less than 10 minutes");
            return Err(invalid("spec.expirationSeconds", message));
        }
        if wanted > 1 << 32 {
            let message = format!("Invalid value: {wanted}: may not specify a duration larger than 2^32 seconds");
            return Err(invalid("spec.expirationSeconds", message));
        }
        let now = self.now();
        let mut bound = json!({"namespace": key.namespace, "serviceaccount": {"name": key.name, "uid": account.uid}});
        let reference = &spec["boundObjectRef"];
        if !reference.is_null() {
            let (kind, name) =
                (reference["kind"].as_str().unwrap_or_default(), reference["name"].as_str().unwrap_or_default());
            let (what, of, namespace) = match kind {
                "Pod" => ("pod", "pods", key.namespace.as_str()),
                "Secret" => ("secret", "secrets", key.namespace.as_str()),
                "Node" => ("node", "nodes", ""),
                other => {
                    return Err(Refusal::bad_request(format!("cannot bind token to object of type {}", json!(other))));
                }
            };
            let resource = self.resource(of).ok_or_else(Refusal::no_such_resource)?;
            let entry =
                self.store.get(&Key::new(of, namespace, name)).ok_or_else(|| Refusal::not_found(&resource, name))?;
            if let Some(uid) = reference["uid"].as_str().filter(|uid| *uid != entry.uid) {
                return Err(Refusal::conflict(&resource, name, &format!(
                    "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
                )).with(details(&resource, name)));
            }
            bound[what] = json!({"name": name, "uid": entry.uid});
            if what == "pod" && !entry.field("spec.nodeName").is_empty() {
                let node = entry.field("spec.nodeName");
                if let Some(at) = self.store.get(&Key::new("nodes", "", node)) {
                    bound["node"] = json!({"name": node, "uid": at.uid});
                }
            }
        }
        let audiences = match spec["audiences"].as_array() {
            Some(all) if !all.is_empty() => json!(all),
            _ => json!([ISSUER]),
        };
        let (start, jti) = (now.unix_timestamp(), self.random.uuid());
        let token = self.identities.sign(&json!({"aud": audiences, "exp": start + wanted, "iat": start, "nbf": start, "iss": ISSUER,
            "jti": jti, "kubernetes.io": bound, "sub": format!("system:serviceaccount:{}:{}", key.namespace, key.name)}));
        let mut answer = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "metadata": {"name": key.name, "namespace": key.namespace, "creationTimestamp": super::world::seconds(now)},
            "spec": {"audiences": audiences, "expirationSeconds": wanted, "boundObjectRef": reference},
            "status": {"token": token, "expirationTimestamp": super::world::seconds(now + Duration::seconds(wanted))}});
        if reference.is_null() {
            answer["spec"]["boundObjectRef"] = Value::Null;
        }
        Ok((answer, format!("JTI={jti}")))
    }
}

fn request_kind() -> Resource {
    Resource {
        group: "authentication.k8s.io".into(),
        version: "v1".into(),
        plural: "tokenrequests".into(),
        singular: String::new(),
        kind: "TokenRequest".into(),
        short: Vec::new(),
        namespaced: true,
        verbs: Vec::new(),
        categories: Vec::new(),
        subresources: Vec::new(),
        custom: false,
    }
}
