//! One command in one container, over the API server's WebSocket, with nothing taken on trust.
//!
//! kube's own exec loop can hang or lose the end; and the API server itself may cut the output while it reports success
//! (kubernetes#60140, #124571). So the end of a stream here is only what it is: what was seen of it, and the listener
//! decides by what the stream carries.

use std::time::Duration;

use futures::{Sink, SinkExt, Stream, StreamExt};
use kube::Client;
use kube::api::AttachParams;
use kube::core::Request;
use serde_json::Value;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Fault, Problem};

/// The end of standard error that is kept.
const STDERR_TAIL: usize = 16 << 10;
/// A message that we send is a line; what does not go out for this long won't.
const SENDING: Duration = Duration::from_secs(20);

/// How long to wait.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Without a single byte of output. Pings and other signs of life of the API server do not count.
    pub idle: Duration,
    /// In all.
    pub total: Duration,
}

/// Who reads what a command writes. Pieces are of any size; while one is being read nothing more is taken from the
/// connection, so that a slow disk slows the sender instead of filling our memory.
pub trait Listener: Send {
    /// The next piece of standard output.
    ///
    /// # Errors
    /// Ends the exec with that problem.
    fn stdout(&mut self, bytes: &[u8]) -> Result<(), Problem>;

    /// The next piece of standard error.
    fn stderr(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }

    /// Asked after each piece: something for the command's standard input.
    fn reply(&mut self) -> Option<&'static [u8]> {
        None
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Exit code 0, says the API server.
    Success,
    /// The command failed, or could not be started.
    Failure {
        /// Its exit code; None when it never ran.
        code: Option<i32>,
        /// The API server's message.
        message: String,
    },
    /// The connection ended before the command's status came: closed, reset, or cut.
    Cut(String),
    /// No output for the time that is allowed.
    Stalled(String),
}

/// What is known when a command has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub end: End,
    /// The end of standard error, lossily as text.
    pub stderr: String,
}

impl std::fmt::Display for Ended {
    /// One line for a person, with the last line of standard error. Not escaped.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.end {
            End::Success => write!(f, "the command ended with success")?,
            End::Failure { code: Some(code), .. } => write!(f, "the command ended with exit code {code}")?,
            End::Failure { code: None, message } | End::Cut(message) | End::Stalled(message) => write!(f, "{message}")?,
        }
        match self.stderr.lines().rev().find(|line| !line.trim().is_empty()) {
            Some(last) => write!(f, " ({})", last.trim()),
            None => Ok(()),
        }
    }
}

/// Where a command runs.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Namespace.
    pub namespace: &'a str,
    /// Pod.
    pub pod: &'a str,
    /// Container, ephemeral ones too.
    pub container: &'a str,
}

/// Runs a command and hands its output to the listener, piece by piece.
///
/// # Errors
/// When the API server does not open the stream, as [`Problem`] has it, and the listener's own problems. How a stream
/// that was opened ended is no error.
pub async fn exec(
    client: &Client,
    place: Place<'_>,
    argv: &[String],
    limits: Limits,
    listener: &mut dyn Listener,
) -> Result<Ended, Problem> {
    let options = AttachParams::default().container(place.container).stdin(true).stdout(true).stderr(true).tty(false);
    let request = Request::new(format!("/api/v1/namespaces/{}/pods", place.namespace))
        .exec(place.pod, argv.to_vec(), &options)
        .map_err(|e| Problem::internal(format!("can't ask for an exec: {e}")))?;
    let opened = tokio::time::timeout(limits.idle, client.connect(request)).await;
    let connection = opened.map_err(|_| {
        Problem::new(
            Fault::Transient,
            format!("the API server did not open the exec within {} s", limits.idle.as_secs()),
        )
    })??;
    listen(connection.into_stream(), limits, listener).await
}

/// The loop itself, on any stream of messages.
async fn listen<S>(mut stream: S, limits: Limits, listener: &mut dyn Listener) -> Result<Ended, Problem>
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    let deadline = Instant::now() + limits.total;
    let mut quiet = Instant::now() + limits.idle;
    let mut stderr = Vec::new();
    let end = loop {
        if Instant::now() >= deadline {
            break End::Stalled(format!("it had not ended after {} s", limits.total.as_secs()));
        }
        let message = tokio::select! {
            // Output that is there already goes before any time limit.
            biased;
            message = stream.next() => message,
            () = tokio::time::sleep_until(quiet.min(deadline)) => {
                if Instant::now() >= deadline {
                    continue;
                }
                break End::Stalled(format!("no output for {} s", limits.idle.as_secs()));
            }
        };
        let bytes = match message {
            None => break End::Cut("the connection ended before the command's status".into()),
            Some(Err(error)) => break End::Cut(format!("the connection broke: {error}")),
            Some(Ok(Message::Close(frame))) => {
                let why = frame.map(|f| format!(": {} {}", f.code, f.reason)).unwrap_or_default();
                break End::Cut(format!("the connection was closed before the command's status{why}"));
            }
            Some(Ok(Message::Binary(bytes))) => bytes,
            // Pings are answered by the stream itself.
            Some(Ok(_)) => continue,
        };
        // The first byte is the channel (v4 and v5.channel.k8s.io): 1 output, 2 error, 3 status, 255 closes another.
        match bytes.split_first() {
            Some((1, data)) if !data.is_empty() => listener.stdout(data)?,
            Some((2, data)) if !data.is_empty() => {
                listener.stderr(data);
                stderr.extend_from_slice(data);
                let surplus = stderr.len().saturating_sub(STDERR_TAIL);
                stderr.drain(..surplus);
            }
            Some((3, data)) => break status(data),
            _ => continue,
        }
        quiet = Instant::now() + limits.idle;
        if let Some(line) = listener.reply() {
            let frame = Message::Binary([&[0], line].concat().into());
            match tokio::time::timeout(SENDING, stream.send(frame)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => break End::Cut(format!("the connection broke: {error}")),
                Err(_) => break End::Stalled(format!("our answer did not go out within {} s", SENDING.as_secs())),
            }
        }
    };
    // The other side is told; what it answers changes nothing any more.
    let _ = tokio::time::timeout(Duration::from_secs(2), stream.close()).await;
    Ok(Ended { end, stderr: String::from_utf8_lossy(&stderr).trim().to_string() })
}

/// A `metav1.Status`; the exit code is a cause of its details (k8s.io/apimachinery remotecommand, ExitCodeCauseType).
fn status(data: &[u8]) -> End {
    let status: Value = serde_json::from_slice(data).unwrap_or_default();
    if status["status"] == "Success" {
        return End::Success;
    }
    let causes = status["details"]["causes"].as_array().into_iter().flatten();
    let code = causes.filter(|c| c["reason"] == "ExitCode").find_map(|c| c["message"].as_str()?.parse().ok());
    let message =
        status["message"].as_str().unwrap_or("the API server's status can't be read").chars().take(2000).collect();
    End::Failure { code, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::DuplexStream;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    #[derive(Default)]
    struct Heard {
        out: Vec<u8>,
        answer_at: Option<usize>,
    }

    impl Listener for Heard {
        fn stdout(&mut self, bytes: &[u8]) -> Result<(), Problem> {
            self.out.extend_from_slice(bytes);
            Ok(())
        }

        fn reply(&mut self) -> Option<&'static [u8]> {
            self.answer_at.take_if(|at| self.out.len() >= *at).map(|_| b"ok\n".as_slice())
        }
    }

    const LIMITS: Limits = Limits { idle: Duration::from_secs(5), total: Duration::from_secs(30) };

    async fn pair() -> (WebSocketStream<DuplexStream>, WebSocketStream<DuplexStream>) {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        (
            WebSocketStream::from_raw_socket(ours, Role::Client, None).await,
            WebSocketStream::from_raw_socket(theirs, Role::Server, None).await,
        )
    }

    fn on(channel: u8, data: &[u8]) -> Message {
        Message::Binary([&[channel], data].concat().into())
    }

    #[tokio::test]
    async fn output_error_status_and_the_answer_have_their_channels() {
        let (ours, mut theirs) = pair().await;
        let server = tokio::spawn(async move {
            theirs.send(on(1, b"")).await.unwrap();
            theirs.send(on(1, b"he")).await.unwrap();
            theirs.send(Message::Ping(vec![1].into())).await.unwrap();
            theirs.send(on(2, b"oops\n")).await.unwrap();
            theirs.send(on(1, b"llo")).await.unwrap();
            let mut answers = Vec::new();
            while let Some(Ok(message)) = theirs.next().await {
                let done = message.is_binary();
                answers.push(message);
                if done {
                    break;
                }
            }
            let failed =
                br#"{"status":"Failure","reason":"NonZeroExitCode","message":"command terminated with exit code 3",
                "details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
            theirs.send(on(3, failed)).await.unwrap();
            answers
        });
        let mut heard = Heard { answer_at: Some(5), ..Heard::default() };
        let ended = listen(ours, LIMITS, &mut heard).await.unwrap();
        assert_eq!(heard.out, b"hello");
        assert!(matches!(ended.end, End::Failure { code: Some(3), .. }), "{ended:?}");
        assert_eq!(ended.to_string(), "the command ended with exit code 3 (oops)");
        let answers = server.await.unwrap();
        assert_eq!(answers.last().unwrap(), &on(0, b"ok\n"));
        assert!(answers.iter().any(Message::is_pong), "the ping was answered");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_told_from_an_end() {
        let (ours, mut theirs) = pair().await;
        theirs.send(on(1, b"x")).await.unwrap();
        let keep_alive = tokio::spawn(async move {
            while theirs.send(Message::Ping(vec![].into())).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let ended = listen(ours, LIMITS, &mut Heard::default()).await.unwrap();
        assert_eq!(ended.end, End::Stalled("no output for 5 s".into()), "pings are no output");
        keep_alive.abort();
    }

    #[tokio::test]
    async fn an_end_without_a_status_is_a_cut() {
        for close in [true, false] {
            let (ours, mut theirs) = pair().await;
            theirs.send(on(1, b"x")).await.unwrap();
            if close {
                let server = tokio::spawn(async move { theirs.close(None).await });
                let ended = listen(ours, LIMITS, &mut Heard::default()).await.unwrap();
                assert!(matches!(ended.end, End::Cut(_)), "{ended:?}");
                let _ = server.await;
            } else {
                drop(theirs);
                let ended = listen(ours, LIMITS, &mut Heard::default()).await.unwrap();
                assert!(matches!(ended.end, End::Cut(_)), "{ended:?}");
            }
        }
    }

    #[test]
    fn a_status_that_is_none_is_no_success() {
        assert!(matches!(status(b"garbage"), End::Failure { code: None, .. }));
        assert_eq!(status(br#"{"status":"Success"}"#), End::Success);
    }
}
