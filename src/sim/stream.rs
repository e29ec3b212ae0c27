//! exec, attach and logs: the kubelet's side of the stream protocol, over WebSockets.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use http::StatusCode;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::Inner;
use super::answer::{Answer, Refusal, Result};
use super::api::Request;
use super::container::{Container, HostTree, Io, Net};
use super::fault::Break;
use super::rbac::Attributes;
use super::resource::Resource;
use super::special::no_container;
use super::store::Key;
use super::world::{World, micros};

/// What is to be streamed.
pub struct Streaming {
    /// The pod.
    pub pod: Key,
    uid: String,
    name: String,
    container: Arc<Container>,
    argv: Vec<String>,
    tty: bool,
    /// A log that is followed instead: lines so far were sent.
    pub follow: Option<usize>,
    timestamps: bool,
}

impl Streaming {
    /// A stream, or the whole answer where there is nothing to wait for.
    ///
    /// # Errors
    /// 404, 400: no such pod or container, or one that does not run.
    pub fn begin(
        world: &World,
        request: &Request,
        asked: &Attributes,
        resource: &Resource,
        key: &Key,
    ) -> Result<std::result::Result<Answer, Streaming>> {
        let entry = world.store.get(key).ok_or_else(|| Refusal::not_found(resource, &key.name))?;
        let pod = entry.value();
        let log = asked.subresource == "log";
        let query = &request.query;
        let name = match query.get("container") {
            "" => {
                let all = pod["spec"]["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
                if log && all.len() > 1 {
                    let names = |of: &str| {
                        pod["spec"][of]
                            .as_array()
                            .into_iter()
                            .flatten()
                            .filter_map(|c| c["name"].as_str())
                            .collect::<Vec<_>>()
                    };
                    let init = names("initContainers");
                    let init = if init.is_empty() {
                        String::new()
                    } else {
                        format!(" or one of the init containers: [{}]", init.join(" "))
                    };
                    return Err(Refusal::bad_request(format!(
                        "a container name must be specified for pod {}, choose one of: [{}]{init}",
                        key.name,
                        names("containers").join(" ")
                    )));
                }
                all.first().and_then(|c| c["name"].as_str()).unwrap_or_default().to_string()
            }
            given => given.to_string(),
        };
        let known = ["containers", "initContainers", "ephemeralContainers"]
            .iter()
            .any(|of| pod["spec"][of].as_array().into_iter().flatten().any(|c| c["name"] == name.as_str()));
        if !known {
            return Err(no_container(&pod, &name));
        }
        if pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() && !log {
            return Err(Refusal::bad_request(format!("pod {} does not have a host assigned", key.name)));
        }
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        if !world.node_answers(node) {
            let address =
                world.store.value(&Key::new("nodes", "", node)).map(|n| n["status"]["addresses"][0]["address"].clone());
            let address = address.as_ref().and_then(Value::as_str).unwrap_or("192.0.2.1").to_string();
            let message = format!(
                "Get \"https://{address}:10250/containerLogs/{}/{}/{name}\": dial tcp {address}:10250: connect: no route to host",
                key.namespace, key.name
            );
            return Err(Refusal::new(500, "InternalError", message));
        }
        let running = world.containers.get(&(entry.uid.clone(), name.clone()));
        if log {
            return logs(world, request, key, &pod, &name, running);
        }
        let state = container_state(&pod, &name);
        let Some(running) = running.filter(|_| state["running"].is_object()) else {
            let message = format!("container not found (\"{name}\")");
            return Err(Refusal::internal(format!("error executing command in container: {message}")));
        };
        if !request.upgrade {
            return Err(Refusal::bad_request("Upgrade request required"));
        }
        let argv = if asked.subresource == "attach" {
            running.container.get().command()
        } else {
            let argv = query.all("command");
            if argv.is_empty() {
                return Err(Refusal::bad_request("you must specify at least 1 command for the container"));
            }
            argv
        };
        Ok(Err(Streaming {
            pod: key.clone(),
            uid: entry.uid.clone(),
            name,
            container: running.container.get(),
            argv,
            tty: query.is("tty"),
            follow: None,
            timestamps: false,
        }))
    }

    /// The next lines of a log that is followed; None when its container is gone.
    pub fn more(&mut self, world: &World) -> Option<String> {
        let running = world.containers.get(&(self.uid.clone(), self.name.clone()))?;
        let sent = self.follow.unwrap_or(0);
        let text = rendered(running.log.iter().skip(sent), self.timestamps);
        self.follow = Some(running.log.len());
        Some(text)
    }

    /// Runs the command, with the streams on the socket, until it has ended or the caller is gone.
    pub async fn run<S>(self, mut socket: WebSocketStream<S>, inner: Arc<Inner>, cut: Option<Break>)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let (out, mut outgoing) = mpsc::channel::<Vec<u8>>(64);
        let (into, incoming) = channel::<Vec<u8>>();
        let cancel = Arc::new(AtomicBool::new(false));
        let io = Io {
            stdin: Box::new(Incoming { from: incoming, held: VecDeque::new() }),
            stdout: Box::new(Outgoing { to: out.clone(), channel: 1 }),
            stderr: Box::new(Outgoing { to: out.clone(), channel: if self.tty { 1 } else { 2 } }),
            tty: self.tty,
            cancel: cancel.clone(),
        };
        let net = PodNet { inner: Arc::downgrade(&inner), pod: self.pod.clone() };
        let (container, argv) = (self.container.clone(), self.argv.clone());
        let work = tokio::task::spawn_blocking(move || {
            let ended = container.exec(&argv, io, &net);
            let mut message = vec![3];
            message.extend_from_slice(status(ended.map_err(|e| e.message)).to_string().as_bytes());
            let _ = out.blocking_send(message);
        });
        let mut into: Option<Sender<Vec<u8>>> = Some(into);
        let mut sent = 0_u64;
        loop {
            tokio::select! {
                message = outgoing.recv() => {
                    let Some(message) = message else { break };
                    let last = message.first() == Some(&3);
                    sent += message.len() as u64;
                    match cut.filter(|cut| cut.reached(sent)) {
                        Some(Break::Cut(_)) => {
                            cancel.store(true, Ordering::Relaxed);
                            return;
                        }
                        Some(Break::Stall(_)) => continue,
                        Some(Break::Short(_)) => {
                            let success = [&[3], status(Ok(0)).to_string().as_bytes()].concat();
                            let _ = socket.send(Message::Binary(success.into())).await;
                            break;
                        }
                        None => {}
                    }
                    if socket.send(Message::Binary(message.into())).await.is_err() || last {
                        break;
                    }
                }
                message = socket.next() => match message {
                    Some(Ok(Message::Binary(bytes))) => match bytes.split_first() {
                        Some((0, data)) => {
                            if let Some(into) = &into {
                                let _ = into.send(data.to_vec());
                            }
                        }
                        // v5: this channel is closed.
                        Some((255, [0, ..])) => into = None,
                        _ => {}
                    },
                    Some(Ok(Message::Close(_))) | None | Some(Err(_)) => break,
                    Some(Ok(_)) => {}
                },
            }
        }
        cancel.store(true, Ordering::Relaxed);
        drop(into);
        outgoing.close();
        let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let _ = socket.close(Some(normal)).await;
        // A command that does not look at the flag is left behind; it ends with the process.
        let _ = tokio::time::timeout(Duration::from_secs(1), work).await;
    }
}

/// The status that ends an exec.
fn status(ended: std::result::Result<i32, String>) -> Value {
    match ended {
        Ok(0) => json!({"metadata": {}, "status": "Success"}),
        Ok(code) => {
            json!({"metadata": {}, "status": "Failure", "message": format!("command terminated with non-zero exit code: exit status {code}"), "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}})
        }
        Err(message) => {
            let message = format!(
                "error executing command in container: failed to exec in container: failed to start exec \"{}\": {message}: unknown",
                "0".repeat(64)
            );
            json!({"metadata": {}, "status": "Failure", "message": format!("Internal error occurred: Internal error occurred: {message}"), "reason": "InternalError",
                "details": {"causes": [{"message": message}]}, "code": 500})
        }
    }
}

fn container_state(pod: &Value, name: &str) -> Value {
    ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"]
        .iter()
        .flat_map(|of| pod["status"][of].as_array().into_iter().flatten())
        .find(|s| s["name"] == name)
        .map(|s| s["state"].clone())
        .unwrap_or_default()
}

fn rendered<'l>(lines: impl Iterator<Item = &'l (OffsetDateTime, String)>, timestamps: bool) -> String {
    lines.fold(String::new(), |mut text, (at, line)| {
        if timestamps {
            text.push_str(&micros(*at));
            text.push(' ');
        }
        text.push_str(line);
        text.push('\n');
        text
    })
}

fn logs(
    world: &World,
    request: &Request,
    key: &Key,
    pod: &Value,
    name: &str,
    running: Option<&super::world::Running>,
) -> Result<std::result::Result<Answer, Streaming>> {
    let query = &request.query;
    let previous = query.is("previous");
    let lines = match (running, previous) {
        (Some(running), false) => &running.log,
        (Some(running), true) if running.former.is_some() => match &running.former {
            Some(former) => former,
            None => &running.log,
        },
        (_, true) => {
            return Err(Refusal::bad_request(format!(
                "previous terminated container {name:?} in pod {:?} not found",
                key.name
            )));
        }
        (None, false) => {
            let state = container_state(pod, name);
            let why = state["waiting"]["reason"].as_str().unwrap_or("ContainerCreating");
            let why = match why {
                "ErrImagePull" | "ImagePullBackOff" => "trying and failing to pull image".to_string(),
                other => other.to_string(),
            };
            return Err(Refusal::bad_request(format!(
                "container {name:?} in pod {:?} is waiting to start: {why}",
                key.name
            )));
        }
    };
    let since = query.get("sinceSeconds").parse::<i64>().ok().map(|s| world.now() - time::Duration::seconds(s));
    let kept: Vec<&(OffsetDateTime, String)> = lines.iter().filter(|(at, _)| since.is_none_or(|s| *at >= s)).collect();
    let tail = query.get("tailLines").parse::<usize>().unwrap_or(kept.len());
    let kept = kept.get(kept.len().saturating_sub(tail)..).unwrap_or_default();
    let mut text = rendered(kept.iter().copied(), query.is("timestamps"));
    if let Ok(limit) = query.get("limitBytes").parse::<usize>() {
        let mut limit = limit.min(text.len());
        while !text.is_char_boundary(limit) {
            limit -= 1;
        }
        text.truncate(limit);
    }
    if let Some(running) = running.filter(|_| query.is("follow") && !previous) {
        return Ok(Err(Streaming {
            pod: key.clone(),
            uid: pod["metadata"]["uid"].as_str().unwrap_or_default().into(),
            name: name.into(),
            container: running.container.get(),
            argv: Vec::new(),
            tty: false,
            follow: Some(lines.len() - kept.len()),
            timestamps: query.is("timestamps"),
        }));
    }
    let mut answer = Answer::text(StatusCode::OK, &text);
    answer.content_type = "text/plain";
    Ok(Ok(answer))
}

struct Incoming {
    from: Receiver<Vec<u8>>,
    held: VecDeque<u8>,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.held.is_empty() {
            match self.from.recv() {
                Ok(bytes) => self.held.extend(bytes),
                Err(_) => return Ok(0),
            }
        }
        self.held.read(buffer)
    }
}

struct Outgoing {
    to: mpsc::Sender<Vec<u8>>,
    channel: u8,
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.chunks(32 << 10) {
            let mut message = Vec::with_capacity(piece.len() + 1);
            message.push(self.channel);
            message.extend_from_slice(piece);
            self.to.blocking_send(message).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The network as a pod sees it.
struct PodNet {
    inner: Weak<Inner>,
    pod: Key,
}

impl Net for PodNet {
    fn dial(&self, address: &str, timeout: Duration) -> std::result::Result<(), String> {
        let _ = timeout;
        let inner = self.inner.upgrade().ok_or("connection refused")?;
        inner.with(|world| world.dial(&self.pod, address))
    }

    fn neighbour(&self, id: &str) -> Option<(Arc<Container>, Box<dyn Net>)> {
        let inner = self.inner.upgrade()?;
        let id = id.rsplit('/').next().filter(|id| id.len() >= 12)?;
        let (pod, container) = inner.with(|world| world.on_node_of(&self.pod, id))?;
        Some((container, Box::new(PodNet { inner: self.inner.clone(), pod })))
    }

    fn host_tree(&self, path: &str) -> Option<HostTree> {
        let inner = self.inner.upgrade()?;
        inner.with(|world| world.host_files(&self.pod, path)).map(HostTree::of_files)
    }
}

/// Locks may be poisoned only by a panic, which tests would show; the world behind is still consistent enough to end.
pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
