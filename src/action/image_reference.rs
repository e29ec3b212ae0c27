//! An image's name, as container runtimes read it.

/// The parts of an image reference, with the defaults that runtimes put in.
///
/// <https://github.com/distribution/reference> (normalised names: `docker.io` and `library/` when left out)
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    pub registry: String,
    pub repository: String,
    pub tag: Option<String>,
    /// `sha256:…`
    pub digest: Option<String>,
}

impl Reference {
    /// Reads a reference; None when it is none.
    pub fn parse(text: &str) -> Option<Reference> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest_of(digest)?)),
            None => (text, None),
        };
        // A colon after the last slash begins the tag; before it, a registry's port.
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.to_owned())),
            _ => (name, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path.to_owned()),
            Some(_) => ("docker.io", name.to_owned()),
            None => ("docker.io", format!("library/{name}")),
        };
        let good = !path.is_empty()
            && path.split('/').all(|p| !p.is_empty())
            && !name.is_empty()
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:@[]".contains(c));
        good.then(|| Reference { registry: registry.into(), repository: path, tag, digest })
    }

    /// The same image by name: equal but for the default tag.
    pub fn same_name(&self, other: &Reference) -> bool {
        self.registry == other.registry
            && self.repository == other.repository
            && self.tag_or_latest() == other.tag_or_latest()
    }

    /// The tag in force: `latest` when neither tag nor digest is given, None when only a digest is.
    pub fn tag_or_latest(&self) -> Option<&str> {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => Some(tag),
            (None, None) => Some("latest"),
            (None, Some(_)) => None,
        }
    }
}

/// What a container status's `imageID` tells: a manifest's digest, or only the runtime's own id of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Running {
    /// The digest by which a registry knows it.
    Digest(String),
    /// The image's configuration digest: no registry knows it by that name, so it can't be compared with one.
    LocalId(String),
    /// Nothing, or nothing known.
    Unknown,
}

/// Reads an `imageID`: `docker.io/library/nginx@sha256:…`, `docker-pullable://…`, or a bare `sha256:…`.
pub(super) fn running(image_id: Option<&str>) -> Running {
    let text = image_id.unwrap_or_default();
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    match text.rsplit_once('@') {
        Some((_, digest)) => digest_of(digest).map_or(Running::Unknown, Running::Digest),
        None => digest_of(text).map_or(Running::Unknown, Running::LocalId),
    }
}

fn digest_of(text: &str) -> Option<String> {
    let (algorithm, hex) = text.split_once(':')?;
    let length = match algorithm {
        "sha256" => 64,
        "sha512" => 128,
        _ => return None,
    };
    (hex.len() == length && hex.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()))
        .then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_runtimes_read_them() {
        let hex = "a".repeat(64);
        for (text, registry, repository, tag) in [
            ("nginx", "docker.io", "library/nginx", Some("latest")),
            ("nginx:1.27", "docker.io", "library/nginx", Some("1.27")),
            ("team/app:v1", "docker.io", "team/app", Some("v1")),
            ("localhost:5000/app", "localhost:5000", "app", Some("latest")),
            ("registry.k8s.io/a/b:v1", "registry.k8s.io", "a/b", Some("v1")),
            (&format!("ghcr.io/a/b@sha256:{hex}"), "ghcr.io", "a/b", None),
            (&format!("ghcr.io/a/b:v2@sha256:{hex}"), "ghcr.io", "a/b", Some("v2")),
        ] {
            let r = Reference::parse(text).unwrap();
            assert_eq!(
                (r.registry.as_str(), r.repository.as_str(), r.tag_or_latest()),
                (registry, repository, tag),
                "{text}"
            );
        }
        for bad in ["", "/", "a//b", "nginx@sha256:short", "a b", "x/\u{1b}[31m"] {
            assert_eq!(Reference::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_image_id_may_be_a_local_one() {
        let digest = format!("sha256:{}", "b".repeat(64));
        assert_eq!(running(Some(&format!("docker.io/library/nginx@{digest}"))), Running::Digest(digest.clone()));
        assert_eq!(running(Some(&format!("docker-pullable://nginx@{digest}"))), Running::Digest(digest.clone()));
        assert_eq!(running(Some(&digest)), Running::LocalId(digest));
        assert_eq!(running(Some("")), Running::Unknown);
        assert_eq!(running(None), Running::Unknown);
    }
}
