//! What a node does with its pods: start, run to an end, stop; and ephemeral containers.

use serde_json::{Value, json};
use time::Duration;

use super::{condition, scheduler};
use crate::clock;
use crate::sim::container::{Container, Facts, Lazy};
use crate::sim::store::Key;
use crate::sim::world::{Image, Running, World, seconds};

/// From binding to running, on a node that has the image.
const START: Duration = Duration::milliseconds(1500);
/// From SIGTERM to the end, for a process that heeds it.
const STOP: Duration = Duration::milliseconds(800);

/// One pod.
pub fn pod(world: &mut World, key: &Key) {
    let Some(pod) = world.store.value(key) else { return };
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default().to_string();
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        return stop(world, key, pod, &node);
    }
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    if ["Succeeded", "Failed"].contains(&phase) {
        return;
    }
    if node.is_empty() {
        return scheduler::schedule(world, key, pod);
    }
    let Some(home) = world.store.value(&Key::new("nodes", "", &node)) else {
        return;
    };
    if !world.node_answers(&node) {
        return;
    }
    if let Some(taint) = home["spec"]["taints"].as_array().into_iter().flatten().find(|t| t["effect"] == "NoExecute")
        && !scheduler::tolerated(&pod, taint)
    {
        world.dirty.insert(Key::new("nodes", "", &node));
    }
    if pod["status"]["startTime"].is_null() {
        accept(world, key, pod, &home);
        world.later(world.scaled(START), key);
        return;
    }
    if !pod["status"]["containerStatuses"]
        .as_array()
        .is_some_and(|all| all.iter().any(|c| !c["state"]["waiting"].is_object()))
    {
        return start(world, key, pod);
    }
    if ephemeral(world, key, &pod) {
        return;
    }
    finish(world, key, pod);
}

fn since(world: &World, text: &Value) -> Duration {
    let then = text.as_str().and_then(|t| clock::parse(t).ok()).unwrap_or_else(|| world.now());
    world.now() - then
}

/// The kubelet has seen the pod: an address, and containers that are being created.
fn accept(world: &mut World, key: &Key, mut pod: Value, home: &Value) {
    let (host_network, now) = (pod["spec"]["hostNetwork"] == true, world.stamp());
    let host = home["status"]["addresses"][0]["address"].clone();
    let address = if host_network {
        host.clone()
    } else {
        world.addresses.0 += 1;
        let n = world.addresses.0;
        json!(format!("10.244.{}.{}", (n / 250) % 250, n % 250 + 2))
    };
    let waiting = |of: &str| -> Vec<Value> {
        pod["spec"][of]
            .as_array()
            .into_iter()
            .flatten()
            .map(|c| json!({"name": c["name"], "image": c["image"], "imageID": "", "ready": false, "started": false, "restartCount": 0, "state": {"waiting": {"reason": if of == "containers" { "ContainerCreating" } else { "PodInitializing" }}}, "lastState": {}}))
            .collect()
    };
    let (containers, init) = (waiting("containers"), waiting("initContainers"));
    let mut status = pod["status"].take();
    status["startTime"] = json!(now);
    status["hostIP"] = host.clone();
    status["hostIPs"] = json!([{"ip": host}]);
    status["podIP"] = address.clone();
    status["podIPs"] = json!([{"ip": address}]);
    status["containerStatuses"] = json!(containers);
    if !init.is_empty() {
        status["initContainerStatuses"] = json!(init);
    }
    status["observedGeneration"] = pod["metadata"]["generation"].clone();
    for (kind, is) in
        [("PodReadyToStartContainers", "False"), ("Initialized", if init.is_empty() { "True" } else { "False" })]
    {
        condition(world, &mut status, kind, is, "", "");
    }
    for kind in ["Ready", "ContainersReady"] {
        let names: Vec<&str> = containers.iter().filter_map(|c| c["name"].as_str()).collect();
        condition(
            world,
            &mut status,
            kind,
            "False",
            "ContainersNotReady",
            &format!("containers with unready status: [{}]", names.join(" ")),
        );
    }
    pod["status"] = status;
    world.put(key, &mut pod);
}

/// The image that a container has, as far as the cluster knows one.
pub fn image_of(world: &World, pod: &Value, container: &Value) -> Image {
    let name = container["image"].as_str().unwrap_or_default();
    let fits = |image: &&Image| {
        (image.name.is_empty() || name.starts_with(&image.name))
            && (image.container.is_empty() || container["name"] == image.container.as_str())
            && image.labels.iter().all(|(k, v)| pod["metadata"]["labels"][k] == v.as_str())
    };
    // The most particular first: a container of a labelled pod before an image.
    let mut all: Vec<&Image> = world.images.iter().filter(fits).collect();
    all.sort_by_key(|i| std::cmp::Reverse((i.labels.len(), i.container.len(), i.name.len())));
    let mut image = all.first().map(|i| (*i).clone()).unwrap_or_default();
    if image.digest.is_empty() {
        use sha2::{Digest, Sha256};
        image.digest = match name.split_once('@') {
            Some((_, digest)) => digest.to_string(),
            None => format!("sha256:{}", Sha256::digest(name).iter().map(|b| format!("{b:02x}")).collect::<String>()),
        };
    }
    image
}

fn id(world: &mut World) -> String {
    (0..4).map(|_| format!("{:016x}", world.random.number())).collect()
}

/// Starts what the image holds, as a container of the pod.
fn run(world: &mut World, pod: &Value, spec: &Value, image: &Image, container_id: &str) {
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_string();
    let name = spec["name"].as_str().unwrap_or_default().to_string();
    let facts = facts(world, pod, spec, container_id);
    let target = spec["targetContainerName"].as_str().map(str::to_string);
    let is_collector = facts.command.first().is_some_and(|c| c == "/quell-collector");
    let target = target.and_then(|t| world.containers.get(&(uid.clone(), t)).map(|r| r.container.get()));
    let container = match target {
        Some(target) if is_collector => Lazy::from(Container::collector(target, facts)),
        None if is_collector => Lazy::from(Container::own(facts)),
        _ => Lazy::new(image.inside.clone(), facts),
    };
    let now = world.now();
    let lines = if image.log.is_empty() { echoed(spec) } else { image.log.clone() };
    let log = lines.into_iter().map(|line| (now, line)).collect();
    let former = world.containers.remove(&(uid.clone(), name.clone())).map(|r| r.log);
    world.containers.insert((uid, name), Running { container, log, former });
}

/// What a container's command says before it does anything else: `sh -c "echo ready; exec …"`.
fn echoed(spec: &Value) -> Vec<String> {
    let script = spec["command"][2].as_str().filter(|_| spec["command"][1] == "-c").unwrap_or_default();
    let said = script.split(';').map(str::trim).map_while(|s| s.strip_prefix("echo "));
    said.map(|words| words.trim_matches(['"', '\'']).to_string()).collect()
}

fn facts(world: &mut World, pod: &Value, spec: &Value, container_id: &str) -> Facts {
    let list = |v: &Value| -> Vec<String> {
        v.as_array().into_iter().flatten().filter_map(|s| s.as_str().map(Into::into)).collect()
    };
    let mut command = list(&spec["command"]);
    command.extend(list(&spec["args"]));
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default().to_string();
    let hostname =
        pod["spec"]["hostname"].as_str().or(pod["metadata"]["name"].as_str()).unwrap_or_default().to_string();
    let mut env = vec![
        ("PATH".to_string(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_string()),
        ("HOSTNAME".into(), hostname.clone()),
        ("KUBERNETES_SERVICE_HOST".into(), "10.96.0.1".into()),
        ("KUBERNETES_SERVICE_PORT".into(), "443".into()),
    ];
    for variable in spec["env"].as_array().into_iter().flatten() {
        let name = variable["name"].as_str().unwrap_or_default().to_string();
        let reference = &variable["valueFrom"]["secretKeyRef"];
        let value = if reference.is_object() {
            let key = Key::new("secrets", &namespace, reference["name"].as_str().unwrap_or_default());
            world
                .store
                .value(&key)
                .map(|s| plain(&s["data"][reference["key"].as_str().unwrap_or_default()]))
                .unwrap_or_default()
        } else {
            variable["value"].as_str().unwrap_or_default().into()
        };
        env.push((name, String::from_utf8_lossy(&value.into_bytes()).into_owned()));
    }
    for source in spec["envFrom"].as_array().into_iter().flatten() {
        let key = Key::new("secrets", &namespace, source["secretRef"]["name"].as_str().unwrap_or_default());
        if let Some(secret) = world.store.value(&key) {
            env.extend(secret["data"].as_object().into_iter().flatten().map(|(k, v)| (k.clone(), plain(v))));
        }
    }
    let mounts = mounts(world, pod, spec, &namespace);
    let user = &spec["securityContext"]["runAsUser"];
    let user = if user.is_null() { &pod["spec"]["securityContext"]["runAsUser"] } else { user };
    let ports = spec["ports"].as_array().into_iter().flatten().filter(|p| p["protocol"] != "UDP");
    let ports = ports.filter_map(|p| u16::try_from(p["containerPort"].as_u64()?).ok()).collect();
    Facts {
        ports,
        hostname,
        container_id: container_id.into(),
        image: spec["image"].as_str().unwrap_or_default().into(),
        command,
        env,
        mounts,
        started: world.now().unix_timestamp(),
        uid: user.as_u64().and_then(|u| u32::try_from(u).ok()),
    }
}

fn plain(data: &Value) -> String {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(data.as_str().unwrap_or_default()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Files that volumes bring: Secrets, ConfigMaps, the account's token. Path, content, mode.
fn mounts(world: &mut World, pod: &Value, spec: &Value, namespace: &str) -> Vec<(String, Vec<u8>, u32)> {
    let mut all = Vec::new();
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default").to_string();
    for mount in spec["volumeMounts"].as_array().into_iter().flatten() {
        let at = mount["mountPath"].as_str().unwrap_or_default().trim_end_matches('/').to_string();
        let Some(volume) = pod["spec"]["volumes"].as_array().into_iter().flatten().find(|v| v["name"] == mount["name"])
        else {
            continue;
        };
        let mut sources = vec![volume.clone()];
        sources.extend(volume["projected"]["sources"].as_array().cloned().unwrap_or_default());
        for source in sources {
            let secret = source["secret"]["secretName"].as_str().or(source["secret"]["name"].as_str());
            if let Some(object) = secret.and_then(|s| world.store.value(&Key::new("secrets", namespace, s))) {
                let data = object["data"].as_object().into_iter().flatten();
                all.extend(data.map(|(k, v)| (format!("{at}/{k}"), plain(v).into_bytes(), 0o644)));
            }
            if let Some(object) = source["configMap"]["name"]
                .as_str()
                .and_then(|s| world.store.value(&Key::new("configmaps", namespace, s)))
            {
                let data = object["data"].as_object().into_iter().flatten();
                all.extend(
                    data.map(|(k, v)| (format!("{at}/{k}"), v.as_str().unwrap_or_default().as_bytes().to_vec(), 0o644)),
                );
            }
            if source["serviceAccountToken"].is_object()
                && let Some(token) = world.pod_token(namespace, &account, pod)
            {
                all.push((format!("{at}/token"), token.into_bytes(), 0o644));
                all.push((format!("{at}/namespace"), namespace.as_bytes().to_vec(), 0o644));
            }
        }
    }
    all
}

/// All containers of a pod, once they are due.
fn start(world: &mut World, key: &Key, mut pod: Value) {
    let left =
        world.scaled(START) - since(world, &pod["status"]["startTime"]) - world.scaled(Duration::milliseconds(1));
    // The start time has whole seconds: it may lie ahead of the clock by less than one.
    if left > Duration::ZERO && left <= world.scaled(START) && world.speed <= 1.0 {
        world.later(left, key);
        return;
    }
    let now = world.stamp();
    let specs: Vec<Value> = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
    let inits: Vec<Value> = pod["spec"]["initContainers"].as_array().cloned().unwrap_or_default();
    let mut failed = false;
    let mut statuses = Vec::new();
    for spec in &inits {
        let image = image_of(world, &pod, spec);
        let container_id = id(world);
        run(world, &pod, spec, &image, &container_id);
        let lasting = spec["restartPolicy"] == "Always";
        let state = if lasting {
            json!({"running": {"startedAt": now}})
        } else {
            json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now, "containerID": format!("containerd://{container_id}")}})
        };
        statuses.push(status(spec, &image, &container_id, state, true));
    }
    if !inits.is_empty() {
        pod["status"]["initContainerStatuses"] = json!(statuses);
    }
    let mut statuses = Vec::new();
    for spec in &specs {
        let image = image_of(world, &pod, spec);
        let name = spec["image"].as_str().unwrap_or_default();
        if image.missing {
            failed = true;
            let message = format!(
                "Back-off pulling image \"{name}\": ErrImagePull: failed to pull and unpack image \"{name}\": not found"
            );
            statuses.push(json!({"name": spec["name"], "image": name, "imageID": "", "ready": false, "started": false, "restartCount": 0, "lastState": {}, "state": {"waiting": {"reason": "ImagePullBackOff", "message": message}}}));
            continue;
        }
        let container_id = id(world);
        run(world, &pod, spec, &image, &container_id);
        statuses.push(status(spec, &image, &container_id, json!({"running": {"startedAt": now}}), true));
        if let Some((after, _)) = image.ends {
            world.later(world.scaled(after), key);
        }
        world.event(&pod, "Pod", "Normal", "Started", "Container started", "kubelet");
    }
    pod["status"]["containerStatuses"] = json!(statuses);
    let mut all = pod["status"].take();
    condition(world, &mut all, "PodReadyToStartContainers", "True", "", "");
    condition(world, &mut all, "Initialized", "True", "", "");
    if failed {
        let known =
            world.store.value(key).is_some_and(|p| p["status"]["containerStatuses"] == all["containerStatuses"]);
        pod["status"] = all;
        if !known {
            world.put(key, &mut pod);
        }
        return;
    }
    all["phase"] = json!("Running");
    for kind in ["ContainersReady", "Ready"] {
        condition(world, &mut all, kind, "True", "", "");
    }
    pod["status"] = all;
    world.put(key, &mut pod);
}

fn status(spec: &Value, image: &Image, container_id: &str, state: Value, ready: bool) -> Value {
    let name = spec["image"].as_str().unwrap_or_default();
    let bare = name.split('@').next().unwrap_or_default();
    let repository = match bare.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => bare,
    };
    let started = state["running"].is_object();
    let mut status = json!({"name": spec["name"], "image": name, "imageID": format!("{repository}@{}", image.digest), "containerID": format!("containerd://{container_id}"),
        "ready": ready, "started": started, "restartCount": 0, "state": state, "lastState": {}, "resources": {}});
    let mounts: Vec<Value> = spec["volumeMounts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|m| {
            let mut mount = json!({"name": m["name"], "mountPath": m["mountPath"]});
            if m["readOnly"] == true {
                mount["readOnly"] = json!(true);
                mount["recursiveReadOnly"] = json!("Disabled");
            }
            mount
        })
        .collect();
    if !mounts.is_empty() {
        status["volumeMounts"] = json!(mounts);
    }
    status
}

/// Ephemeral containers that were asked for and have not begun. Whether one did.
fn ephemeral(world: &mut World, key: &Key, pod: &Value) -> bool {
    let known: Vec<Value> = pod["status"]["ephemeralContainerStatuses"].as_array().cloned().unwrap_or_default();
    let asked: Vec<Value> = pod["spec"]["ephemeralContainers"].as_array().cloned().unwrap_or_default();
    let fresh: Vec<&Value> = asked.iter().filter(|c| !known.iter().any(|k| k["name"] == c["name"])).collect();
    if fresh.is_empty() {
        return false;
    }
    let now = world.stamp();
    let mut all = known;
    for spec in fresh {
        let image = image_of(world, pod, spec);
        let container_id = id(world);
        if image.missing {
            let name = spec["image"].as_str().unwrap_or_default();
            let message = format!("failed to pull and unpack image \"{name}\": not found");
            all.push(json!({"name": spec["name"], "image": name, "imageID": "", "ready": false, "restartCount": 0, "lastState": {}, "state": {"waiting": {"reason": "ErrImagePull", "message": message}}}));
            continue;
        }
        run(world, pod, spec, &image, &container_id);
        let mut status = status(spec, &image, &container_id, json!({"running": {"startedAt": now}}), false);
        if let Some(map) = status.as_object_mut() {
            map.remove("started");
        }
        all.push(status);
    }
    let mut pod = pod.clone();
    pod["status"]["ephemeralContainerStatuses"] = json!(all);
    pod["status"]["observedGeneration"] = pod["metadata"]["generation"].clone();
    world.put(key, &mut pod);
    true
}

/// Containers whose time has come end; the pod with them, where it is not restarted.
fn finish(world: &mut World, key: &Key, mut pod: Value) {
    let policy = pod["spec"]["restartPolicy"].as_str().unwrap_or("Always").to_string();
    let specs: Vec<Value> = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
    let (mut ended, mut worst, mut changed) = (0, 0, false);
    let node_ready = pod["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "Ready" && c["reason"] == "NodeNotReady");
    for spec in &specs {
        let image = image_of(world, &pod, spec);
        let Some((after, code)) = image.ends else { continue };
        let list = pod["status"]["containerStatuses"].as_array_mut();
        let Some(status) = list.into_iter().flatten().find(|c| c["name"] == spec["name"]) else { continue };
        if let Some(code) = status["state"]["terminated"]["exitCode"].as_i64() {
            ended += 1;
            worst = worst.max(code);
            continue;
        }
        let started = status["state"]["running"]["startedAt"].clone();
        let running = since(world, &started);
        if running < world.scaled(after) {
            continue;
        }
        changed = true;
        let now = world.stamp();
        let reason = if code == 0 { "Completed" } else { "Error" };
        let end = json!({"terminated": {"exitCode": code, "reason": reason, "startedAt": started, "finishedAt": now, "containerID": status["containerID"]}});
        if policy == "Always" || policy == "OnFailure" && code != 0 {
            status["lastState"] = end;
            status["restartCount"] = json!(status["restartCount"].as_u64().unwrap_or(0) + 1);
            status["state"] = json!({"running": {"startedAt": now}});
            let (uid, name) = (
                pod["metadata"]["uid"].as_str().unwrap_or_default().to_string(),
                spec["name"].as_str().unwrap_or_default().to_string(),
            );
            if let Some(running) = world.containers.get_mut(&(uid, name)) {
                running.former = Some(std::mem::take(&mut running.log));
            }
            world.later(world.scaled(after), key);
        } else {
            status["state"] = end;
            status["ready"] = json!(false);
            status["started"] = json!(false);
            ended += 1;
            worst = worst.max(i64::from(code));
        }
    }
    if node_ready {
        let mut status = pod["status"].take();
        condition(world, &mut status, "Ready", "True", "", "");
        pod["status"] = status;
        changed = true;
    }
    if ended == specs.len() && ended > 0 {
        changed = true;
        let mut status = pod["status"].take();
        status["phase"] = json!(if worst == 0 { "Succeeded" } else { "Failed" });
        for kind in ["Ready", "ContainersReady"] {
            condition(world, &mut status, kind, "False", if worst == 0 { "PodCompleted" } else { "PodFailed" }, "");
        }
        pod["status"] = status;
    }
    if changed {
        world.improve(key, pod);
    }
}

/// A first process without a handler of its own does not get SIGTERM at all (pid_namespaces(7)).
fn deaf(spec: &Value) -> bool {
    let word = |i: usize| spec["command"][i].as_str().unwrap_or_default();
    match word(0).rsplit('/').next().unwrap_or_default() {
        "sleep" | "tail" => true,
        "sh" | "bash" | "ash" => !word(2).contains("exec ") && !word(2).contains("trap "),
        _ => false,
    }
}

/// A pod that is to go: at once when it heeds SIGTERM, else when its grace is over; never from a node that is lost.
fn stop(world: &mut World, key: &Key, pod: Value, node: &str) {
    if node.is_empty() {
        if pod["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
            world.remove(key);
        }
        return;
    }
    if world.store.get(&Key::new("nodes", "", node)).is_some() && !world.node_answers(node) {
        // The pod garbage collector's part, for a machine that is said to be off.
        if world.out_of_service(node) && pod["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
            world.remove(key);
        }
        return;
    }
    let grace = pod["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    let mut specs = pod["spec"]["containers"].as_array().into_iter().flatten();
    let stubborn = specs.any(|c| image_of(world, &pod, c).ignores_term || deaf(c));
    let takes = if stubborn {
        world.scaled(Duration::seconds(grace))
    } else {
        world.scaled(STOP).min(world.scaled(Duration::seconds(grace)))
    };
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_string();
    let now = world.now();
    let since = *world.stopping.entry(uid.clone()).or_insert(now);
    if now < since + takes {
        world.later(since + takes - now, key);
        return;
    }
    world.stopping.remove(&uid);
    world.containers.retain(|(of, _), _| *of != uid);
    if pod["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
        world.remove(key);
        return;
    }
    // Something else must still let it go: it is shown as ended until then.
    let mut pod = pod;
    let now = seconds(world.now());
    for status in pod["status"]["containerStatuses"].as_array_mut().into_iter().flatten() {
        if status["state"]["running"].is_object() {
            let started = status["state"]["running"]["startedAt"].clone();
            status["state"] = json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": now, "containerID": status["containerID"]}});
            status["ready"] = json!(false);
        }
    }
    pod["status"]["phase"] = json!("Succeeded");
    pod["metadata"]["deletionGracePeriodSeconds"] = json!(0);
    world.improve(key, pod);
}
