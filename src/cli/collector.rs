//! `quell collector`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::{Ended, Global, print_json};

/// The collector's image.
#[derive(Debug, Subcommand)]
pub enum CollectorCommand {
    /// Pack a static quell-collector binary into an image archive (`ctr images import`, `docker load`, `crane push`)
    Image {
        /// The static binary
        binary: PathBuf,
        /// The archive to write
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
        /// The image's name, with a tag
        #[arg(long, value_name = "NAME", default_value = concat!("quell.dev/collector:", env!("CARGO_PKG_VERSION")))]
        name: String,
    },
}

pub(super) fn collector(global: &Global, command: CollectorCommand) -> Ended {
    let CollectorCommand::Image { binary, output, name } = command;
    let digest = crate::evidence::collector_image::write(&binary, &output, &name)?;
    if global.json {
        print_json(&json!({"v": 1, "name": name, "digest": digest, "archive": output}));
    } else {
        eprintln!("{} written: {name} ({digest})", output.display());
    }
    Ok(0)
}
