//! `node.terminate`: the instance ends, and the cluster forgets the node: its object, its lease, its pending certificates.

mod forget;
mod instance;
mod method;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::node::cluster;
use super::node_inventory::own;
use super::{Action, Conclusion, Done, Kind, NODE_LEASE, Rule, Scope, Spec, StepPlan, node};
use crate::cluster::{Cx, Fault, Problem, raw};
use crate::event::{Guarded, Landed, ObjectRef, Op, Risk, Undo};
use method::Found;

/// The signers of a kubelet's certificates: those whose requests are denied.
const SIGNERS: [&str; 2] = ["kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"];

/// Parameters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeTerminate {
    /// The node's name.
    node: String,
    /// Its UID: only this one is ended.
    uid: String,
    /// How the instance is ended: `machine` deletes its Cluster API Machine, `nodeclaim` its Karpenter NodeClaim, `command`
    /// runs the program below, `none` leaves it to people, and `auto` takes the program where one is given, else what is
    /// found. Default: `auto`.
    #[serde(default)]
    method: Method,
    /// The program that ends the instance, and its arguments; no shell reads them, and they are recorded. In each `{node}`,
    /// `{instance}` (the end of its provider ID), `{resource}` (all of it behind `://`), `{zone}` and `{region}` stand for
    /// what the node's object says.
    #[serde(default)]
    command: Vec<String>,
    /// Names of environment variables that the program is given beside PATH; it is given no others.
    #[serde(default)]
    env: Vec<String>,
    /// Seconds that the program, or the controller of a Machine or NodeClaim, may take. Default: 600.
    #[serde(default = "ten_minutes")]
    timeout: u64,
    /// Seconds for which it is watched, once the Node is deleted, whether it registers anew. Default: 10.
    #[serde(default = "ten")]
    watch: u64,
    /// The outputs of node.inventory: tell until when the node's certificate is taken.
    inventory: Option<Value>,
}

/// How the instance is ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Method {
    /// The program where one is given, else what is found.
    #[default]
    Auto,
    /// A Machine of Cluster API.
    Machine,
    /// A NodeClaim of Karpenter.
    Nodeclaim,
    /// The program.
    Command,
    /// People do it.
    None,
}

fn ten_minutes() -> u64 {
    600
}

fn ten() -> u64 {
    10
}

impl Kind for NodeTerminate {
    const SPEC: Spec = Spec {
        name: "node.terminate",
        summary: "End a node's instance, and remove its Node, lease and pending certificate requests",
        description: "First the instance: by its Cluster API Machine, its Karpenter NodeClaim, or a program of the cloud's; without \
            any of these people must, and the step says so. Programs, as lists of arguments: AWS [aws, ec2, terminate-instances, \
            --instance-ids, \"{instance}\"]; Google Cloud [gcloud, compute, instances, delete, \"{node}\", --zone, \"{zone}\", \
            --quiet]; Azure [az, vm, delete, --yes, --ids, \"{resource}\"]; OpenStack [openstack, server, delete, --wait, \
            \"{instance}\"]. Then its pending certificate requests are denied, and its Node object is deleted by UID, with its \
            lease. What was on its disk and in its memory is gone then: let it need the evidence, and take a snapshot before. A \
            kubelet's certificate can't be revoked, and with it a machine that lives registers anew: the step says until when, \
            and watches for it. A node of the control plane needs `--override control-plane`.",
        risk: Risk::Destructive,
        undo: "can't be taken back: an instance that is deleted is gone with its disk and memory",
        captures: false,
        rules: &[
            cluster(
                "",
                "nodes",
                &["get", "list", "watch", "delete"],
                "deleting it, and whether it registers anew",
                false,
            ),
            cluster("", "pods", &["list"], "what is on it still", true),
            cluster(
                "certificates.k8s.io",
                "certificatesigningrequests",
                &["get", "list"],
                "requests for its certificates",
                true,
            ),
            cluster(
                "certificates.k8s.io",
                "certificatesigningrequests/approval",
                &["update"],
                "denying those that are pending",
                true,
            ),
            cluster(
                "certificates.k8s.io",
                "signers:kubernetes.io/kube-apiserver-client-kubelet",
                &["approve"],
                "denying needs the right to decide for the signer, of kubelets alone",
                true,
            ),
            cluster(
                "certificates.k8s.io",
                "signers:kubernetes.io/kubelet-serving",
                &["approve"],
                "denying needs the right to decide for the signer, of kubelets alone",
                true,
            ),
            Rule {
                group: "coordination.k8s.io",
                resource: "leases",
                verbs: &["get", "delete"],
                scope: Scope::In("kube-node-lease"),
                why: "its lease",
                optional: true,
            },
            cluster(
                "cluster.x-k8s.io",
                "machines",
                &["get", "list", "watch", "delete"],
                "its Machine, with Cluster API",
                true,
            ),
            cluster(
                "karpenter.sh",
                "nodeclaims",
                &["get", "list", "watch", "delete"],
                "its NodeClaim, with Karpenter",
                true,
            ),
            NODE_LEASE,
        ],
        example: "id: terminate\ntitle: End the instance\nuses: node.terminate\nneeds: [inventory]\nwith:\n  node: ${{ steps.cordon.outputs.node.name }}\n  uid: ${{ steps.cordon.outputs.node.uid }}\n  command: [aws, ec2, terminate-instances, --instance-ids, \"{instance}\"]\n  env: [AWS_PROFILE, HOME]\n  inventory: ${{ steps.inventory.outputs }}\n",
        outputs: &[
            ("method", "machine, nodeclaim, command or none"),
            ("instance_ended", "whether the method said that the instance is gone: its word, or false"),
            ("registered_again", "whether a node of that name came back while it was watched"),
            ("certificate_until", "until when its client certificate is taken, RFC 3339; null when it is not known"),
        ],
    };
}

impl NodeTerminate {
    /// Until when its certificate is taken, by the newest that the inventory saw issued.
    fn certificate_until(&self) -> Option<String> {
        let requests = self.inventory.as_ref()?["node_credentials"]["certificate_requests"].as_array()?;
        let of_client = requests.iter().filter(|r| r["signer"] == SIGNERS[0]);
        of_client.filter_map(|r| r["valid_until"].as_str().map(str::to_string)).max()
    }

    /// What stays valid whatever is deleted.
    fn residual(&self) -> String {
        let until = match self.certificate_until() {
            Some(until) => format!("valid until {until}"),
            None => "until when is not known (the request that would tell is kept for an hour; a year is usual)".into(),
        };
        format!(
            "the kubelet's client certificate can't be revoked: {until}; whoever has its key may register a node of that name anew"
        )
    }

    fn guarded(&self, found: &Value, mut op: Op) -> Op {
        if node::is_control_plane(found) {
            op.guards.push(Guarded {
                guard: "control-plane".into(),
                why: format!("ends Node {}, which the control plane runs on", self.node),
            });
        }
        op
    }
}

#[async_trait]
impl Action for NodeTerminate {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        let found = node::find(&cx.client, &self.node, Some(&self.uid)).await?;
        let target = node::object(&found);
        let mut plan = StepPlan::default();
        let how = method::find(cx, &found, self.method, !self.command.is_empty()).await?;
        let name = match &how {
            Found::Object { object, .. } => object.kind.to_lowercase(),
            Found::Program => "command".into(),
            Found::Nothing(_) => "none".to_string(),
        };
        plan.outputs = json!({"method": name, "instance_ended": false, "registered_again": null,
            "certificate_until": self.certificate_until()});
        let instance = self.plan_instance(cx, &found, &how, &mut plan).await?;
        let mut ops = vec![instance];
        self.plan_forgetting(cx, &target, &mut ops, &mut plan).await?;
        let pods = raw::list(&cx.client, format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", self.node)).await;
        if let Ok((pods, _)) = pods
            && !pods.is_empty()
        {
            plan.warnings
                .push(format!("{} pods are on {target} now; those that are left by then end with it", pods.len()));
        }
        plan.warnings.push("the disk and the memory of the instance are not in the evidence: take a snapshot before, where that is asked for".into());
        plan.warnings.push(self.residual());
        plan.ops = ops.into_iter().map(|op| if op.risk > Risk::Read { self.guarded(&found, op) } else { op }).collect();
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        match (op.verb.as_str(), op.object.kind.as_str()) {
            ("read", _) => Ok(instance::left_to_people(op)),
            ("run", _) => self.run_program(cx, op).await,
            ("deny", _) => forget::deny(cx, op).await,
            (_, "Node") => self.forget_node(cx, op).await,
            (_, "Lease") => forget::lease(cx, op).await,
            _ => self.delete_object(cx, op).await,
        }
    }

    async fn landed(&self, cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
        match (op.verb.as_str(), op.object.kind.as_str()) {
            ("read", _) => Ok((Landed::No, None)),
            ("run", _) => instance::program_landed(cx, op),
            ("deny", _) => forget::denied(cx, op).await,
            (_, "Node") => match node::find(&cx.client, &op.object.name, op.object.uid.as_deref()).await {
                Ok(_) => Ok((Landed::No, None)),
                Err(problem) if problem.fault == Fault::Refused => {
                    Ok((Landed::Yes, Some(self.node_gone(cx, op).await?)))
                }
                Err(problem) => Err(problem),
            },
            (_, "Lease") => forget::lease_landed(cx, op).await,
            _ => self.object_landed(cx, op).await,
        }
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        let mut outputs = plan_outputs.clone();
        for (_, done) in done {
            for key in ["instance_ended", "registered_again"] {
                if !done.observed[key].is_null() {
                    outputs[key] = done.observed[key].clone();
                }
            }
        }
        let mut conclusion = Conclusion::of(outputs, done);
        conclusion.summary = format!("{}; {}", conclusion.summary, self.residual());
        conclusion
    }
}

/// The object of an operation that destroys for good.
fn destroy(verb: &str, object: ObjectRef, text: String, why: &str) -> Op {
    Op::change(verb, object, text, Risk::Destructive, Undo::Impossible(why.into()))
}
