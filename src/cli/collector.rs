//! `quell collector`.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Subcommand;
use serde_json::json;

use super::{Ended, Global, print_json, setup};
use crate::cluster::Problem;
use crate::evidence::{collector_image, registry};

/// The collector's image.
#[derive(Debug, Subcommand)]
pub enum CollectorCommand {
    /// Make the collector's image, from quell's sources or from a static binary: as an archive (`ctr images import`,
    /// `docker load`, `crane push`, `skopeo copy`), or into a registry
    Image {
        /// The static binary; without it, it is built with cargo from --source
        binary: Option<PathBuf>,
        /// Where quell's sources are
        #[arg(long, value_name = "DIR", default_value = ".")]
        source: PathBuf,
        /// The archive to write
        #[arg(long, short, value_name = "FILE", required_unless_present = "push")]
        output: Option<PathBuf>,
        /// The image's name, with a tag [default: quell.dev/collector:VERSION]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Push it to the registry in --name, with the login of `docker login` or `podman login`
        #[arg(long, requires = "name")]
        push: bool,
    },
}

pub(super) fn collector(global: &Global, command: CollectorCommand) -> Ended {
    let CollectorCommand::Image { binary, source, output, name, push } = command;
    let name = name.unwrap_or_else(|| concat!("quell.dev/collector:", env!("CARGO_PKG_VERSION")).into());
    if push {
        // Before anything is built.
        registry::Name::parse(&name)?;
    }
    let binary = match binary {
        Some(binary) => binary,
        None => build(&source)?,
    };
    let image = collector_image::make(&binary, &name)?;
    if let Some(output) = &output {
        image.write(output)?;
        if !global.json {
            eprintln!("{} written: {name} ({})", output.display(), image.digest());
        }
    }
    let pushed = match push {
        true => Some(setup::block_on(registry::push(&image, &name, &logins()))?),
        false => None,
    };
    if global.json {
        print_json(&json!({"v": 1, "name": name, "digest": image.digest(), "archive": output,
            "pushed": pushed.map(|p| p.reference)}));
    } else if let Some(pushed) = pushed {
        eprintln!("{name} pushed: {} bytes that the registry did not have, and it shows the manifest", pushed.sent);
        eprintln!("use it with --set collector-image={}", pushed.reference);
    }
    Ok(0)
}

/// Where Docker and Podman keep logins, in Podman's order.
fn logins() -> Vec<PathBuf> {
    let folder = |variable: &str| std::env::var_os(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = || folder("HOME").map(|home| home.join(".docker"));
    [
        folder("REGISTRY_AUTH_FILE"),
        folder("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")),
        folder("DOCKER_CONFIG").or_else(home).map(|dir| dir.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
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
