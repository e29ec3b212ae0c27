//! `quell sim`: the embedded cluster for other clients.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use super::{Ended, Global, print_text};
use crate::cluster::Problem;
use crate::drill;
use crate::drill::stage::Scene;
use crate::sim::{Setup, Sim};

/// The embedded cluster.
#[derive(Debug, Subcommand)]
pub enum SimCommand {
    /// Serve the embedded cluster until Ctrl-C, with a kubeconfig for kubectl and other clients
    Serve {
        /// Set up a drill's scene in it: its name, or a file
        scenario: Option<String>,
        /// Where to listen
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Where the kubeconfig goes
        #[arg(long, short, value_name = "FILE", default_value = "quell-sim.kubeconfig")]
        output: PathBuf,
        /// Write the audit log there
        #[arg(long, value_name = "FILE")]
        audit_log: Option<PathBuf>,
        /// How many nodes
        #[arg(long, value_name = "N", default_value_t = 2)]
        nodes: usize,
        /// How much faster than real its own waits are
        #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
        speed: f64,
        /// What names, UIDs and addresses follow from
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
    },
}

pub(super) fn sim(global: &Global, command: SimCommand) -> Ended {
    let SimCommand::Serve { scenario, listen, output, audit_log, nodes, speed, seed } = command;
    if !listen.ip().is_loopback() {
        return Err(Problem::refused(format!(
            "{listen} can be reached from other machines; the embedded cluster is a toy for drills"
        ))
        .hint("listen on 127.0.0.1 or [::1]"));
    }
    let scenario = scenario.map(|name| drill::find(&name)).transpose()?;
    super::setup::block_on(async {
        let setup =
            Setup { seed, audit_log: audit_log.clone(), audit_policy: serde_json::Value::Null, listen: Some(listen) };
        let sim = Sim::start(setup).await.map_err(|e| Problem::failed(format!("can't serve on {listen}: {e}")))?;
        let token = uuid::Uuid::new_v4().to_string();
        match &scenario {
            Some(scenario) => drill::stage::set_stage(&sim, scenario, speed, &token),
            None => sim.with(|world| {
                world.speed = speed;
                (1..=nodes).for_each(|i| world.add_node(&format!("node-{i}")));
            }),
        }
        drill::stage::write_private(&output, &sim.kubeconfig("quell-sim", &[]))?;
        let server = sim.server();
        // The scene lives as long as this does.
        let _scene = match &scenario {
            Some(scenario) => Some(Scene::around(sim, scenario, &output, audit_log).await?),
            None => {
                sim.settled(Duration::from_secs(5)).await;
                std::mem::forget(sim);
                None
            }
        };
        if global.json {
            super::print_json(
                &serde_json::json!({"v": 1, "server": server, "kubeconfig": output, "pid": std::process::id()}),
            );
        } else {
            print_text(&format!("embedded cluster at {server}; export KUBECONFIG={}\n", output.display()));
        }
        tokio::signal::ctrl_c().await.map_err(|e| Problem::internal(e.to_string()))?;
        Ok(0)
    })
}
