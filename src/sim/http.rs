//! The server: TLS on the loopback, HTTP/1.1, streams.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::Inner;
use super::answer::{Answer, Refusal};
use super::api::{Handled, Reply, Request};
use super::fault::{Break, Effect};
use super::identity::User;
use super::route::{Query, decoded};
use super::stream::Streaming;
use super::watch::Watching;
use super::write::warning_header;

/// A request's body may have so many bytes, as with the real server.
const MAX_BODY: usize = 3 * 1024 * 1024;

type Body = BoxBody<Bytes, io::Error>;

/// Accepts connections until the task is aborted.
pub async fn serve(listener: TcpListener, tls: TlsAcceptor, inner: Arc<Inner>) {
    loop {
        let Ok((stream, from)) = listener.accept().await else { continue };
        let (tls, inner) = (tls.clone(), inner.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let Ok(stream) = tls.accept(stream).await else { return };
            let certificate = stream.get_ref().1.peer_certificates().and_then(|c| c.first()).map(|c| c.to_vec());
            let service = service_fn(move |request| {
                let (inner, certificate) = (inner.clone(), certificate.clone());
                async move { answer(request, inner, certificate.as_deref(), from).await }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            let _ = connection.await;
        });
    }
}

/// An error here ends the connection without an answer.
async fn answer(
    mut request: http::Request<Incoming>,
    inner: Arc<Inner>,
    certificate: Option<&[u8]>,
    from: SocketAddr,
) -> Result<Response<Body>, io::Error> {
    let upgrade =
        request.headers().get(header::UPGRADE).is_some_and(|u| u.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let asked = match read(&mut request, &inner, certificate, from, upgrade).await {
        Ok(asked) => asked,
        Err(refusal) => return Ok(whole(refusal.into(), "")),
    };
    let Handled { reply, effects, audit_id, ending } = inner.with(|world| world.handle(asked));
    let mut cut = None;
    let mut silent = false;
    for effect in effects {
        match effect {
            Effect::Latency(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Effect::Reset => return Err(io::Error::from(io::ErrorKind::ConnectionReset)),
            Effect::Cut(bytes) => cut = Some(Break::Cut(bytes)),
            Effect::Stall(bytes) => cut = Some(Break::Stall(bytes)),
            Effect::Short(bytes) => cut = Some(Break::Short(bytes)),
            Effect::Silent => silent = true,
            Effect::Status(_) => {}
        }
    }
    let end = {
        let inner = inner.clone();
        move || {
            if let Some(line) = ending {
                inner.with(|world| {
                    let now = world.now();
                    world.audit.write(&line, "ResponseComplete", now);
                });
            }
        }
    };
    Ok(match reply {
        Reply::Now(answer) => whole(answer, &audit_id),
        Reply::Watch(watching) => streamed(watch(*watching, inner, cut, silent, end), "application/json", &audit_id),
        Reply::Stream(streaming) if streaming.follow.is_some() => {
            streamed(follow(*streaming, inner, cut, end), "text/plain", &audit_id)
        }
        Reply::Stream(streaming) => upgraded(request, *streaming, inner, cut, &audit_id, end),
    })
}

async fn read(
    request: &mut http::Request<Incoming>,
    inner: &Arc<Inner>,
    certificate: Option<&[u8]>,
    from: SocketAddr,
    upgrade: bool,
) -> Result<Request, Box<Refusal>> {
    let headers = request.headers();
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_string();
    let token = text("authorization").strip_prefix("Bearer ").map(str::to_string);
    let user = inner.with(|world| match (&token, certificate) {
        (_, Some(der)) => world.identities.certificate(der),
        (Some(token), None) => world.token_user(token.trim(), &[]).map(|(user, _)| user),
        (None, None) => Some(User::anonymous()),
    });
    let query_text = request.uri().query().unwrap_or_default().to_string();
    let mut asked = Request {
        method: request.method().as_str().into(),
        path: request.uri().path().into(),
        query: Query::parse(&query_text),
        query_text,
        accept: text("accept"),
        content_type: text("content-type"),
        agent: text("user-agent"),
        impersonate: impersonation(headers),
        body: Bytes::new(),
        user,
        source: from.ip().to_string(),
        audit_id: text("audit-id"),
        upgrade,
    };
    if !upgrade {
        let body = Limited::new(request.body_mut(), MAX_BODY).collect().await;
        asked.body = body
            .map_err(|_| {
                Refusal::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {MAX_BODY}"))
                    .with(serde_json::json!({}))
            })?
            .to_bytes();
    }
    Ok(asked)
}

fn impersonation(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("impersonate-"))
        .map(|(name, value)| {
            (name.as_str().to_string(), decoded(&value.to_str().unwrap_or_default().replace('+', "%2B")))
        })
        .collect()
}

fn date() -> String {
    let format = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    crate::clock::Clock::System.now().format(&format).unwrap_or_default()
}

fn headed(response: &mut Response<Body>, content_type: &str, audit_id: &str) {
    let headers = response.headers_mut();
    let mut set = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, content_type);
    set(header::DATE, &date());
    set(header::CACHE_CONTROL, "no-cache, private");
    if !audit_id.is_empty() {
        set(header::HeaderName::from_static("audit-id"), audit_id);
    }
}

fn whole(answer: Answer, audit_id: &str) -> Response<Body> {
    let mut response = Response::new(Full::new(answer.body).map_err(|never: Infallible| match never {}).boxed());
    *response.status_mut() = answer.code;
    headed(&mut response, answer.content_type, audit_id);
    for warning in &answer.warnings {
        if let Ok(value) = HeaderValue::from_str(&warning_header(warning)) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    if let Some(seconds) = answer.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn streamed(pieces: mpsc::Receiver<Result<Bytes, io::Error>>, content_type: &str, audit_id: &str) -> Response<Body> {
    let stream = futures::stream::unfold(pieces, |mut pieces| async move {
        pieces.recv().await.map(|piece| (piece.map(Frame::data), pieces))
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(stream)));
    headed(&mut response, content_type, audit_id);
    response
}

/// Sends pieces until `next` has no more; a fault may cut the stream or silence it.
async fn pump(
    inner: Arc<Inner>,
    to: mpsc::Sender<Result<Bytes, io::Error>>,
    cut: Option<Break>,
    silent: bool,
    until: Option<time::OffsetDateTime>,
    mut next: impl FnMut(&mut super::world::World) -> Option<Vec<Bytes>>,
) {
    let mut changed = inner.changed.subscribe();
    let (mut sent, mut silent) = (0_u64, silent);
    loop {
        // What changes from here on wakes us again.
        changed.borrow_and_update();
        let Some(pieces) = inner.look(&mut next) else { return };
        for piece in pieces {
            if silent {
                continue;
            }
            sent += piece.len() as u64;
            match cut.filter(|cut| cut.reached(sent)) {
                Some(Break::Cut(_)) => {
                    let _ = to.send(Err(io::Error::from(io::ErrorKind::ConnectionReset))).await;
                    return;
                }
                Some(Break::Short(_)) => return,
                Some(Break::Stall(_)) => {
                    silent = true;
                    continue;
                }
                None => {}
            }
            if to.send(Ok(piece)).await.is_err() {
                return;
            }
        }
        let left = until.map_or(Duration::from_secs(3600), |until| {
            (until - crate::clock::Clock::System.now()).try_into().unwrap_or_default()
        });
        tokio::select! {
            _ = changed.changed() => {}
            () = to.closed() => return,
            () = tokio::time::sleep(left.min(Duration::from_secs(61))) => {}
        }
    }
}

fn watch(
    mut watching: Watching,
    inner: Arc<Inner>,
    cut: Option<Break>,
    silent: bool,
    end: impl FnOnce() + Send + 'static,
) -> mpsc::Receiver<Result<Bytes, io::Error>> {
    let (to, from) = mpsc::channel(256);
    tokio::spawn(async move {
        let until = watching.until;
        pump(inner, to, cut, silent, Some(until), move |world| watching.next(world)).await;
        end();
    });
    from
}

fn follow(
    mut streaming: Streaming,
    inner: Arc<Inner>,
    cut: Option<Break>,
    end: impl FnOnce() + Send + 'static,
) -> mpsc::Receiver<Result<Bytes, io::Error>> {
    let (to, from) = mpsc::channel(256);
    tokio::spawn(async move {
        let next = move |world: &mut super::world::World| {
            let text = streaming.more(world)?;
            Some(if text.is_empty() { Vec::new() } else { vec![Bytes::from(text)] })
        };
        pump(inner, to, cut, false, None, next).await;
        end();
    });
    from
}

/// Switches to the WebSocket's protocol and runs the stream on it.
fn upgraded(
    request: http::Request<Incoming>,
    streaming: Streaming,
    inner: Arc<Inner>,
    cut: Option<Break>,
    audit_id: &str,
    end: impl FnOnce() + Send + 'static,
) -> Response<Body> {
    let headers = request.headers();
    let key = headers.get("sec-websocket-key").map(|k| k.as_bytes().to_vec()).unwrap_or_default();
    let offered: Vec<String> = headers
        .get_all("sec-websocket-protocol")
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(',').map(|p| p.trim().to_string()))
        .collect();
    let chosen = ["v5.channel.k8s.io", "v4.channel.k8s.io"].into_iter().find(|p| offered.iter().any(|o| o == p));
    let Some(chosen) = chosen else {
        return whole(
            Refusal::bad_request(format!("unable to upgrade: none of the protocols {offered:?} is spoken here")).into(),
            audit_id,
        );
    };
    let mut digest = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(&key);
    // The fixed text of RFC 6455, section 1.3.
    digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(digest.finish().as_ref());
    tokio::spawn(async move {
        if let Ok(socket) = hyper::upgrade::on(request).await {
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(socket), Role::Server, None).await;
            streaming.run(socket, inner, cut).await;
        }
        end();
    });
    let mut response = Response::new(Full::new(Bytes::new()).map_err(|never: Infallible| match never {}).boxed());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert("sec-websocket-protocol", HeaderValue::from_static(chosen));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert("sec-websocket-accept", accept);
    }
    response
}
