//! `quell collector`.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Subcommand;
use serde_json::json;

use super::{Ended, Global, print_json};
use crate::cluster::Problem;

/// The collector's image.
#[derive(Debug, Subcommand)]
pub enum CollectorCommand {
    /// Make the collector's image as an archive (`ctr images import`, `docker load`, `crane push`, `skopeo copy`), from
    /// quell's sources or from a static binary
    Image {
        /// The static binary; without it, it is built with cargo from --source
        binary: Option<PathBuf>,
        /// Where quell's sources are
        #[arg(long, value_name = "DIR", default_value = ".")]
        source: PathBuf,
        /// The archive to write
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
        /// The image's name, with a tag
        #[arg(long, value_name = "NAME", default_value = concat!("quell.dev/collector:", env!("CARGO_PKG_VERSION")))]
        name: String,
    },
}

pub(super) fn collector(global: &Global, command: CollectorCommand) -> Ended {
    let CollectorCommand::Image { binary, source, output, name } = command;
    let binary = match binary {
        Some(binary) => binary,
        None => build(&source)?,
    };
    let digest = crate::evidence::collector_image::write(&binary, &output, &name)?;
    if global.json {
        print_json(&json!({"v": 1, "name": name, "digest": digest, "archive": output}));
    } else {
        eprintln!("{} written: {name} ({digest})", output.display());
    }
    Ok(0)
}

/// Builds it static, for this machine's kind of processor, in a target folder of its own: nothing else is built anew for
/// the flag. What cargo says goes to standard error.
fn build(source: &Path) -> Result<PathBuf, Problem> {
    let manifest = source.join("Cargo.toml");
    let ours = std::fs::read_to_string(&manifest).is_ok_and(|text| text.contains("name = \"quell-collector\""));
    if !ours {
        return Err(Problem::usage(format!("{} is not quell's source", source.display()))
            .hint("give --source DIR, or a static binary of quell-collector"));
    }
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let folder = source.join("target/collector");
    let ended = Command::new("cargo")
        .args(["build", "--release", "--bin", "quell-collector", "--no-default-features", "--target", &target])
        .arg("--manifest-path")
        .arg(&manifest)
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .stdout(std::process::Stdio::null())
        .status()
        .map_err(|e| {
            Problem::failed(format!("cargo can't be started: {e}")).hint("install Rust, or give a static binary")
        })?;
    if !ended.success() {
        return Err(Problem::failed(format!("cargo did not build the collector: {ended}")));
    }
    Ok(folder.join(target).join("release/quell-collector"))
}
