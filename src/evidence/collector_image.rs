//! The collector's image, made here so that nobody has to trust a registry for it: one layer with one static program.
//!
//! The archive is an OCI image layout (image-spec v1.0, image-layout.md) with Docker's `manifest.json` beside, so that
//! `ctr images import`, `podman load`, `docker load` and `crane push` take it. The same program gives the same bytes.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::hex;
use crate::cluster::Problem;

/// A larger program is not the collector.
const MAX_BINARY: u64 = 64 << 20;
const KIND: &str = "application/vnd.oci.image.";

/// The image of a program, under a name with a tag.
///
/// # Errors
/// When the program can't be read or is not a static one for Linux on a known machine, and when the name has no tag.
pub fn make(binary: &Path, name: &str) -> Result<Image, Problem> {
    let tagged = name.rsplit('/').next().is_some_and(|last| last.contains(':') && !last.contains('@'));
    if !tagged || name.contains(char::is_whitespace) {
        return Err(Problem::usage(format!("{name:?} is no image name with a tag, as quell.dev/collector:1.0")));
    }
    let program = read(binary)?;
    let architecture = architecture(&program).map_err(|why| {
        Problem::usage(format!("{} can't be the collector: {why}", binary.display())).hint(
            "build it with RUSTFLAGS=\"-C target-feature=+crt-static\" cargo build --release --bin quell-collector \
             --no-default-features --target x86_64-unknown-linux-gnu",
        )
    })?;
    Image::of(&program, architecture, name)
}

fn read(binary: &Path) -> Result<Vec<u8>, Problem> {
    let io = |e: std::io::Error| Problem::io("can't read the program", binary, &e);
    let mut program = Vec::new();
    File::open(binary).map_err(io)?.take(MAX_BINARY + 1).read_to_end(&mut program).map_err(io)?;
    if program.len() as u64 > MAX_BINARY {
        return Err(Problem::usage(format!("{} is larger than {MAX_BINARY} bytes", binary.display())));
    }
    Ok(program)
}

/// An image of one layer.
pub struct Image {
    name: String,
    manifest: Blob,
    config: Blob,
    layer: Blob,
}

/// What is referred to by its digest.
pub struct Blob {
    /// `application/vnd.oci.image.…`
    pub kind: String,
    /// `sha256:…`
    pub digest: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl Blob {
    fn of(kind: &str, bytes: Vec<u8>) -> Blob {
        Blob { kind: format!("{KIND}{kind}"), digest: format!("sha256:{}", hex(&Sha256::digest(&bytes))), bytes }
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.kind, "digest": self.digest, "size": self.bytes.len()})
    }

    fn path(&self) -> String {
        format!("blobs/{}", self.digest.replace(':', "/"))
    }
}

impl Image {
    fn of(program: &[u8], architecture: &str, name: &str) -> Result<Image, Problem> {
        let internal = |e: std::io::Error| Problem::internal(e.to_string());
        let mut layer = tar::Builder::new(Vec::new());
        entry(&mut layer, "quell-collector", 0o755, program).map_err(internal)?;
        let layer = Blob::of("layer.v1.tar", layer.into_inner().map_err(internal)?);
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": ["/quell-collector"], "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
            "history": [{"created_by": concat!("quell ", env!("CARGO_PKG_VERSION"))}],
        });
        let config = Blob::of("config.v1+json", config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": format!("{KIND}manifest.v1+json"),
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
        });
        let manifest = Blob::of("manifest.v1+json", manifest.to_string().into_bytes());
        Ok(Image { name: name.into(), manifest, config, layer })
    }

    /// The manifest's digest (`sha256:…`), by which the image is best referred to.
    pub fn digest(&self) -> &str {
        &self.manifest.digest
    }

    /// What a registry takes last, and what it must have before.
    pub fn blobs(&self) -> (&Blob, [&Blob; 2]) {
        (&self.manifest, [&self.layer, &self.config])
    }

    /// Writes it as an archive.
    ///
    /// # Errors
    /// When the archive can't be written.
    pub fn write(&self, out: &Path) -> Result<(), Problem> {
        let io = |e: std::io::Error| Problem::io("can't write the image", out, &e);
        let mut file = BufWriter::new(File::create(out).map_err(io)?);
        let mut tar = tar::Builder::new(&mut file);
        for (path, content) in [
            ("oci-layout", &br#"{"imageLayoutVersion":"1.0.0"}"#[..]),
            ("index.json", self.index().as_bytes()),
            ("manifest.json", self.dockers().as_bytes()),
            (&self.manifest.path(), &self.manifest.bytes),
            (&self.config.path(), &self.config.bytes),
            (&self.layer.path(), &self.layer.bytes),
        ] {
            entry(&mut tar, path, 0o644, content).map_err(io)?;
        }
        tar.finish().map_err(io)?;
        drop(tar);
        file.flush().and_then(|()| file.get_ref().sync_all()).map_err(io)
    }

    fn index(&self) -> String {
        let mut listed = self.manifest.descriptor();
        // containerd takes the whole name from its own annotation; the specification's is the tag alone.
        listed["annotations"] = json!({
            "io.containerd.image.name": self.name,
            "org.opencontainers.image.ref.name": self.name.rsplit(':').next().unwrap_or_default(),
        });
        json!({"schemaVersion": 2, "mediaType": format!("{KIND}index.v1+json"), "manifests": [listed]}).to_string()
    }

    fn dockers(&self) -> String {
        json!([{"Config": self.config.path(), "RepoTags": [self.name], "Layers": [self.layer.path()]}]).to_string()
    }
}

fn entry<W: Write>(tar: &mut tar::Builder<W>, path: &str, mode: u32, content: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    tar.append_data(&mut header, path, content)
}

/// The machine of a static 64-bit ELF program, as images name it (elf(5): e_machine, PT_INTERP).
fn architecture(program: &[u8]) -> Result<&'static str, &'static str> {
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let field = program.get(at..at + bytes)?;
        Some(field.iter().rev().fold(0, |n, b| n << 8 | usize::from(*b)))
    };
    if program.get(..6) != Some(b"\x7fELF\x02\x01") {
        return Err("it is no 64-bit program for Linux");
    }
    let machine = match number(18, 2) {
        Some(62) => "amd64",
        Some(183) => "arm64",
        Some(243) => "riscv64",
        _ => return Err("its machine is not known here"),
    };
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let (Some(table), Some(size), Some(count)) = (table, size, count) else { return Err("it is damaged") };
    for i in 0..count {
        let at = size.checked_mul(i).and_then(|offset| table.checked_add(offset)).filter(|at| *at < program.len());
        match at.and_then(|at| number(at, 4)) {
            Some(3) => return Err("it is linked dynamically, and its image has no libraries"),
            Some(_) => {}
            None => return Err("it is damaged"),
        }
    }
    Ok(machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(interpreter: bool) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18] = 62;
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64] = if interpreter { 3 } else { 1 };
        bytes
    }

    #[test]
    fn the_same_program_gives_the_same_archive_and_its_digests_agree() {
        let dir = tempfile::tempdir().unwrap();
        let binary = dir.path().join("collector");
        std::fs::write(&binary, program(false)).unwrap();
        let (one, two) = (dir.path().join("1.tar"), dir.path().join("2.tar"));
        let image = make(&binary, "quell.dev/collector:test").unwrap();
        image.write(&one).unwrap();
        make(&binary, "quell.dev/collector:test").unwrap().write(&two).unwrap();
        assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());

        let mut archive = tar::Archive::new(File::open(&one).unwrap());
        let mut seen = 0;
        for file in archive.entries().unwrap() {
            let mut file = file.unwrap();
            let path = file.path().unwrap().to_string_lossy().into_owned();
            let mut content = Vec::new();
            file.read_to_end(&mut content).unwrap();
            if let Some(name) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(hex(&Sha256::digest(&content)), name);
                seen += 1;
            }
            if path == "index.json" {
                assert!(String::from_utf8(content).unwrap().contains(image.digest()));
            }
        }
        assert_eq!(seen, 3);
    }

    #[test]
    fn what_can_t_run_alone_is_refused() {
        assert_eq!(architecture(&program(false)), Ok("amd64"));
        assert!(architecture(&program(true)).unwrap_err().contains("dynamically"));
        assert!(architecture(b"#!/bin/sh\n").is_err());
        assert!(architecture(&program(false)[..60]).is_err());
        let dir = tempfile::tempdir().unwrap();
        assert!(make(dir.path(), "untagged").is_err());
    }
}
