//! An image's name, as registries have it.

use crate::cluster::Problem;

/// `registry[:port]/repository:tag`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// As it was written, with its port.
    pub registry: String,
    /// Without the registry.
    pub repository: String,
    /// The tag.
    pub tag: String,
}

impl Name {
    /// Takes it apart.
    ///
    /// # Errors
    /// When it names no registry, or holds what no name may.
    pub fn parse(name: &str) -> Result<Name, Problem> {
        let wrong = |why: &str| {
            Problem::usage(format!("{name:?} can't be pushed: {why}"))
                .hint("a name is as in --name registry.example/team/collector:1.0")
        };
        let (registry, rest) = name.split_once('/').ok_or_else(|| wrong("it names no registry"))?;
        if !(registry.contains(['.', ':']) || registry == "localhost") {
            return Err(wrong("what stands before the first slash is no registry"));
        }
        let (repository, tag) = rest.rsplit_once(':').ok_or_else(|| wrong("it has no tag"))?;
        // distribution-spec v1.1, "Pulling manifests": the two patterns, as far as they keep a URL whole.
        let part = |p: &str| {
            p.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && p.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-'))
        };
        if !repository.split('/').all(part) {
            return Err(wrong("a repository has lower-case letters, digits, '.', '_', '-' and '/'"));
        }
        let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if tag.is_empty() || tag.len() > 128 || tag.starts_with(['.', '-']) || !tag.chars().all(letter) {
            return Err(wrong("its tag is none"));
        }
        if registry.parse::<http::uri::Authority>().is_err() || registry.contains('@') {
            return Err(wrong("its registry is no host"));
        }
        Ok(Name { registry: registry.into(), repository: repository.into(), tag: tag.into() })
    }

    /// For `@sha256:…`.
    pub(super) fn without_tag(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The host that answers for it: Docker's own registry has another name than its images.
    pub(super) fn host(&self) -> &str {
        if self.registry == "docker.io" { "registry-1.docker.io" } else { &self.registry }
    }

    /// Whether it is on this machine, and so without TLS.
    pub(super) fn plain(&self) -> bool {
        let host = self.registry.rsplit_once(':').map_or(self.registry.as_str(), |(host, _)| host);
        matches!(host, "localhost" | "127.0.0.1" | "[::1]")
    }

    pub(super) fn base(&self) -> String {
        format!("http{}://{}", if self.plain() { "" } else { "s" }, self.host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_apart_or_refused() {
        let name = Name::parse("registry.example:5000/quell/collector:0.1.0").unwrap();
        assert_eq!(
            (name.without_tag().as_str(), name.tag.as_str()),
            ("registry.example:5000/quell/collector", "0.1.0")
        );
        assert_eq!(name.base(), "https://registry.example:5000");
        assert_eq!(Name::parse("localhost:5000/a:b").unwrap().base(), "http://localhost:5000");
        assert_eq!(Name::parse("docker.io/me/a:b").unwrap().base(), "https://registry-1.docker.io");
        for name in [
            "collector:1",
            "quell/collector:1",
            "a.example/collector",
            "a.example/Collector:1",
            "a.example/../x:1",
            "a.example/x:1/2",
            "a.example/x:",
            "me@a.example/x:1",
            "a.example/x?y:1",
            "a.exa mple/x:1",
        ] {
            assert!(Name::parse(name).is_err(), "{name}");
        }
    }
}
