//! One write at a time: a subject out of a binding, a token's Secret or a pod away, an account anew; and back.

use std::time::Duration;

use http::Request;
use serde_json::{Value, json};

use crate::action::Done;
use crate::action::access::{Identity, binding};
use crate::cluster::{Cx, Fault, Problem, raw};
use crate::event::{Landed, ObjectRef, Op, OpStatus, Proof};

/// How long a pod may take past its grace.
const LAGS: Duration = Duration::from_secs(30);

/// The binding as it is now, if it is still that one.
async fn current(cx: &Cx, op: &Op) -> Result<Option<Value>, Problem> {
    match raw::get(&cx.client, &binding::path(&op.object)).await {
        Ok(found) if found["metadata"]["uid"].as_str() == op.object.uid.as_deref() => Ok(Some(found)),
        Ok(_) => Ok(None),
        Err(problem) if problem.fault == Fault::NotFound => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// Deletes a binding whose subjects all go, else takes out those alone: by UID, version and the very subjects.
pub(super) async fn send(cx: &Cx, op: &Op, found: &Value, going: &[usize], dry: bool) -> Result<Value, Problem> {
    let meta = &found["metadata"];
    let subjects = found["subjects"].as_array().map_or(&[][..], Vec::as_slice);
    if going.len() == subjects.len() {
        let guard = json!({"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]});
        return delete_at(cx, &binding::path(&op.object), &guard, dry).await;
    }
    let mut patch = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": meta["uid"]}),
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]}),
    ];
    // From the end: the places before keep their numbers.
    for at in going.iter().rev() {
        patch.push(json!({"op": "test", "path": format!("/subjects/{at}"), "value": subjects[*at]}));
        patch.push(json!({"op": "remove", "path": format!("/subjects/{at}")}));
    }
    json_patch(cx, &binding::path(&op.object), &json!(patch), dry).await
}

pub(super) async fn binding(cx: &Cx, op: &Op, identity: &Identity, groups: &[String]) -> Result<Done, Problem> {
    let Some(mut found) = current(cx, op).await? else { return Ok(already(op)) };
    found["kind"] = json!(op.object.kind);
    let going = binding::going(&found, identity, groups);
    if going.is_empty() {
        return Ok(already(op));
    }
    match send(cx, op, &found, &going, false).await {
        Ok(_) => {}
        // Somebody edited it between our read and our write: look again.
        Err(problem) if problem.fault == Fault::Conflict || problem.message.contains("answered 422") => {
            return Err(Problem::new(Fault::Transient, problem.message));
        }
        Err(problem) => return Err(problem),
    }
    removed(cx, op, identity, groups).await
}

/// Read back: whether it is bound there, by that object or by a new one of that name.
async fn removed(cx: &Cx, op: &Op, identity: &Identity, groups: &[String]) -> Result<Done, Problem> {
    let who = identity.username.as_deref().unwrap_or_default();
    let now = match raw::get(&cx.client, &binding::path(&op.object)).await {
        Ok(found) => Some(found),
        Err(problem) if problem.fault == Fault::NotFound => None,
        Err(problem) => return Err(problem),
    };
    // The binding itself is gone where it named nobody else.
    let done = match op.verb.as_str() {
        "delete" => format!("{} is deleted: it gave {who} {}", op.object, binding::role(&op.before)),
        _ => format!("{who} is out of {}", op.object),
    };
    let proof = match &now {
        Some(found) if !binding::going(found, identity, groups).is_empty() => Proof::Refuted(format!(
            "{} names {who} again already, written by {}",
            op.object,
            binding::last_writer(found)
        )),
        Some(_) => Proof::Verified(format!("{} does not name {who}: read back", op.object)),
        None => Proof::Verified(format!("{} is gone: read back", op.object)),
    };
    Ok(Done::applied(done, proof, Value::Null))
}

fn already(op: &Op) -> Done {
    let text = format!("{} names it no more: nothing was sent", op.object);
    Done {
        status: OpStatus::AlreadySo,
        detail: text.clone(),
        proof: Some(Proof::Verified(text)),
        observed: Value::Null,
    }
}

pub(super) async fn binding_landed(
    cx: &Cx,
    op: &Op,
    identity: &Identity,
    groups: &[String],
) -> Result<(Landed, Option<Done>), Problem> {
    match current(cx, op).await? {
        Some(found) if !binding::going(&found, identity, groups).is_empty() => Ok((Landed::No, None)),
        _ => Ok((Landed::Yes, Some(removed(cx, op, identity, groups).await?))),
    }
}

/// The binding as it was: its subjects put back, or the whole object made anew.
pub(super) async fn put_back(cx: &Cx, op: &Op) -> Result<Done, Problem> {
    let prior = &op.detail["prior"];
    let path = binding::path(&op.object);
    let wanted = prior["subjects"].clone();
    let found = match raw::get(&cx.client, &path).await {
        Ok(found) => found,
        Err(problem) if problem.fault == Fault::NotFound => {
            let folder = path.rsplit_once('/').map_or(path.as_str(), |(folder, _)| folder);
            let made = write(cx, Request::post(folder), "application/json", &anew(prior)).await?;
            let same = made["subjects"] == wanted && made["roleRef"] == prior["roleRef"];
            let text = format!("{} is made anew as it was, with another UID", op.object);
            return Ok(Done::applied(text.clone(), shown(same, &text), Value::Null));
        }
        Err(problem) => return Err(problem),
    };
    if found["subjects"] == wanted {
        let text = format!("{} is as it was already", op.object);
        let proof = Some(Proof::Verified(text.clone()));
        return Ok(Done { status: OpStatus::AlreadySo, detail: text, proof, observed: Value::Null });
    }
    let meta = &found["metadata"];
    if meta["uid"].as_str() != op.object.uid.as_deref() {
        return Err(Problem::refused(format!("{} is another one by now, with other subjects", op.object))
            .hint("look who made it, and add the subject by hand if it belongs there"));
    }
    let own = |all: &Value| all.as_array().cloned().unwrap_or_default();
    let (now, before, after) = (own(&found["subjects"]), own(&wanted), own(&op.after["subjects"]));
    // Where nobody else edited it, the very list; else what was taken out is added at the end.
    let target = if now == after {
        before
    } else {
        let missing: Vec<Value> =
            before.into_iter().filter(|s| !now.contains(s)).filter(|s| !after.contains(s)).collect();
        now.into_iter().chain(missing).collect()
    };
    let patch = json!([
        {"op": "test", "path": "/metadata/uid", "value": meta["uid"]},
        {"op": "test", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]},
        {"op": "add", "path": "/subjects", "value": target},
    ]);
    let made = json_patch(cx, &path, &patch, false).await?;
    let text = format!("{} names it again", op.object);
    Ok(Done::applied(text.clone(), shown(made["subjects"] == json!(target), &text), Value::Null))
}

fn shown(so: bool, text: &str) -> Proof {
    if so {
        Proof::Verified(format!("{text}: read back"))
    } else {
        Proof::Unproved(format!("{text}, but not as it was"))
    }
}

/// An object as it can be created again: without what the API server gives.
pub(super) fn anew(prior: &Value) -> Value {
    let mut object = prior.clone();
    if let Some(meta) = object["metadata"].as_object_mut() {
        for key in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "selfLink"] {
            meta.remove(key);
        }
    }
    if let Some(map) = object.as_object_mut() {
        // A service account's list of token Secrets names what is gone.
        map.remove("secrets");
        map.remove("status");
    }
    object
}

fn plain_path(object: &ObjectRef) -> String {
    let plural = match object.kind.as_str() {
        "Secret" => "secrets",
        "Pod" => "pods",
        _ => "serviceaccounts",
    };
    format!("/api/v1/namespaces/{}/{plural}/{}", object.namespace.as_deref().unwrap_or_default(), object.name)
}

pub(super) async fn delete(cx: &Cx, op: &Op) -> Result<Done, Problem> {
    let guard = json!({"uid": op.object.uid});
    match delete_at(cx, &plain_path(&op.object), &guard, false).await {
        Ok(_) => {}
        Err(problem) if matches!(problem.fault, Fault::NotFound | Fault::Conflict) => {
            let text = format!("{} of that UID is gone already", op.object);
            let proof = Some(Proof::Verified(text.clone()));
            return Ok(Done { status: OpStatus::AlreadySo, detail: text, proof, observed: Value::Null });
        }
        Err(problem) => return Err(problem),
    }
    Ok(deleted(cx, op).await?.1.unwrap_or_else(|| {
        let text =
            format!("{} is being deleted and still there: what hangs on it is valid until it is gone", op.object);
        Done::applied(text.clone(), Proof::Unproved(text), Value::Null)
    }))
}

/// By whether it is to be seen; a pod that ends is waited for.
pub(super) async fn deleted(cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
    let done = |text: String, proof: fn(String) -> Proof| {
        Ok((Landed::Yes, Some(Done::applied(text.clone(), proof(text), Value::Null))))
    };
    let mut deadline = None;
    loop {
        let found = match metadata(cx, &op.object).await {
            Ok(found) => found.filter(|f| f["metadata"]["uid"].as_str() == op.object.uid.as_deref()),
            // Without the right to read it, its absence is not shown.
            Err(problem) if problem.fault == Fault::Refused => {
                let text = format!("{} was deleted; that it is gone could not be read back", op.object);
                return done(text, Proof::Unproved);
            }
            Err(problem) => return Err(problem),
        };
        let Some(found) = found else {
            return done(format!("{} of that UID is gone{}", op.object, ended(&op.object)), Proof::Verified);
        };
        let meta = &found["metadata"];
        if !meta["deletionTimestamp"].is_string() {
            return Ok((Landed::No, None));
        }
        let grace = Duration::from_secs(meta["deletionGracePeriodSeconds"].as_u64().unwrap_or_default());
        let until = *deadline.get_or_insert(tokio::time::Instant::now() + grace + LAGS);
        if tokio::time::Instant::now() >= until {
            let held: Vec<&str> =
                meta["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let why = match held.is_empty() {
                true => "its node has not ended it".to_owned(),
                false => format!("finalizers hold it: {}", held.join(", ")),
            };
            let text = format!(
                "{} is being deleted and still there past its grace ({why}): its token is valid until 60 s after its \
                 deletion, and streams into it may be open",
                op.object
            );
            return done(text, Proof::Unproved);
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// What ended with it, by the API server's own rule; its answers to tokens are kept for 10 s.
///
/// <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/>
fn ended(object: &ObjectRef) -> &'static str {
    match object.kind.as_str() {
        "Secret" => ": its token is refused, from the API server's cache at latest 10 s after",
        "Pod" => ", and with it its token, its own connections and the streams into it",
        "ServiceAccount" => ", and every token of it is refused, from the API server's cache at latest 10 s after",
        _ => "",
    }
}

/// Its metadata. A Secret is found by a list, which takes the right that it was found with, and its body is not asked for.
async fn metadata(cx: &Cx, object: &ObjectRef) -> Result<Option<Value>, Problem> {
    let path = plain_path(object);
    let (uri, kind) = match path.rsplit_once('/').filter(|_| object.kind == "Secret") {
        Some((folder, name)) => (format!("{folder}?fieldSelector=metadata.name%3D{name}"), "PartialObjectMetadataList"),
        None => (path, "PartialObjectMetadata"),
    };
    let request = Request::get(uri)
        .header("accept", format!("application/json;as={kind};v=v1;g=meta.k8s.io"))
        .body(Vec::new())
        .map_err(|e| Problem::internal(e.to_string()))?;
    match cx.client.request::<Value>(request).await.map_err(Problem::from) {
        Ok(mut found) if object.kind == "Secret" => Ok(found["items"].get_mut(0).map(Value::take)),
        Ok(found) => Ok(Some(found)),
        Err(problem) if problem.fault == Fault::NotFound => Ok(None),
        Err(problem) => Err(problem),
    }
}

pub(super) async fn create(cx: &Cx, op: &Op) -> Result<Done, Problem> {
    let path = plain_path(&op.object);
    let folder = path.rsplit_once('/').map_or(path.as_str(), |(folder, _)| folder);
    match write(cx, Request::post(folder), "application/json", &op.detail["manifest"]).await {
        Ok(made) => {
            let text = format!("{} is there anew (UID {})", op.object, made["metadata"]["uid"].as_str().unwrap_or("?"));
            Ok(Done::applied(text.clone(), Proof::Verified(text), Value::Null))
        }
        // The default account of a namespace is made again by a controller.
        Err(problem) if problem.fault == Fault::Conflict => {
            let found = metadata(cx, &op.object).await?.unwrap_or_default();
            if found["metadata"]["uid"] == op.detail["old"] {
                return Err(Problem::failed(format!("{} is not made anew: the old one is still there", op.object))
                    .hint("look at its finalizers; `quell resume` makes it once the old one is gone"));
            }
            let text = format!("{} was made again by somebody else already", op.object);
            let proof = Some(Proof::Verified(text.clone()));
            Ok(Done { status: OpStatus::AlreadySo, detail: text, proof, observed: Value::Null })
        }
        Err(problem) => Err(problem),
    }
}

pub(super) async fn created(cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
    match raw::get(&cx.client, &plain_path(&op.object)).await {
        Ok(found) if found["metadata"]["uid"] == op.detail["old"] => Ok((Landed::No, None)),
        Ok(_) => {
            let text = format!("{} is there", op.object);
            Ok((Landed::Yes, Some(Done::applied(text.clone(), Proof::Verified(text), Value::Null))))
        }
        Err(problem) if problem.fault == Fault::NotFound => Ok((Landed::No, None)),
        Err(problem) => Err(problem),
    }
}

async fn delete_at(cx: &Cx, path: &str, preconditions: &Value, dry: bool) -> Result<Value, Problem> {
    let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions});
    if dry {
        options["dryRun"] = json!(["All"]);
    }
    write(cx, Request::delete(path), "application/json", &options).await
}

async fn json_patch(cx: &Cx, path: &str, patch: &Value, dry: bool) -> Result<Value, Problem> {
    let path = if dry { format!("{path}?dryRun=All") } else { path.to_owned() };
    write(cx, Request::patch(path), "application/json-patch+json", patch).await
}

async fn write(cx: &Cx, request: http::request::Builder, media: &str, body: &Value) -> Result<Value, Problem> {
    let request = request
        .header("content-type", media)
        .body(body.to_string().into_bytes())
        .map_err(|e| Problem::internal(e.to_string()))?;
    Ok(cx.client.request(request).await?)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::action::test_cx;
    use crate::event::{Risk, Undo};

    fn two() -> Value {
        json!({"kind": "RoleBinding", "metadata": {"name": "b", "namespace": "shop", "uid": "u", "resourceVersion": "7"},
               "roleRef": {"kind": "ClusterRole", "name": "edit"},
               "subjects": [{"kind": "User", "name": "mallory"}, {"kind": "User", "name": "carol"}, {"kind": "User", "name": "mallory"}]})
    }

    fn op(prior: &Value, after: Value) -> Op {
        let mut op = Op::change("patch", binding::object(prior), "x", Risk::High, Undo::NotNeeded);
        op.after = after;
        op.detail = json!({"what": "binding", "prior": prior});
        op
    }

    /// Plays the API server for one object; what was written is kept.
    /// Method and body of what was asked.
    type Asked = Arc<Mutex<Vec<(String, Value)>>>;

    fn serve(found: Value) -> (tempfile::TempDir, Cx, Asked) {
        let folder = tempfile::tempdir().unwrap();
        let written = Arc::new(Mutex::new(Vec::new()));
        let keep = written.clone();
        let cx = test_cx::cx(folder.path(), move |(method, path, body)| {
            if method == "GET" {
                return if found.is_null() { test_cx::status(404, "NotFound", "none") } else { (200, found.clone()) };
            }
            let body: Value = serde_json::from_slice(body).unwrap();
            keep.lock().unwrap().push((format!("{method} {path}"), body.clone()));
            let subjects =
                body.as_array().and_then(|p| p.last()).map_or(body["subjects"].clone(), |p| p["value"].clone());
            (200, json!({"metadata": {"uid": "u"}, "subjects": subjects, "roleRef": body["roleRef"]}))
        });
        (folder, cx, written)
    }

    #[tokio::test]
    async fn only_the_very_subjects_of_the_very_version_are_taken_out() {
        let (_folder, cx, written) = serve(two());
        send(&cx, &op(&two(), Value::Null), &two(), &[0, 2], true).await.unwrap();
        let (request, patch) = written.lock().unwrap().pop().unwrap();
        assert!(request.ends_with("/namespaces/shop/rolebindings/b?dryRun=All"), "{request}");
        let paths: Vec<String> =
            patch.as_array().unwrap().iter().map(|p| format!("{} {}", p["op"], p["path"]).replace('"', "")).collect();
        assert_eq!(
            paths,
            [
                "test /metadata/uid",
                "test /metadata/resourceVersion",
                "test /subjects/2",
                "remove /subjects/2",
                "test /subjects/0",
                "remove /subjects/0"
            ]
        );
        send(&cx, &op(&two(), Value::Null), &two(), &[0, 1, 2], false).await.unwrap();
        let (request, options) = written.lock().unwrap().pop().unwrap();
        assert!(request.starts_with("DELETE"), "{request}");
        assert_eq!(options["preconditions"], json!({"uid": "u", "resourceVersion": "7"}));
    }

    #[tokio::test]
    async fn undo_gives_the_very_list_back_and_never_writes_over_another_object() {
        let carol = json!([{"kind": "User", "name": "carol"}]);
        let undone = op(&two(), json!({"subjects": carol}));
        let mut now = two();
        now["subjects"] = carol;
        let (_folder, cx, written) = serve(now.clone());
        assert!(put_back(&cx, &undone).await.unwrap().proof.unwrap().is_verified());
        let (_, patch) = written.lock().unwrap().pop().unwrap();
        assert_eq!(patch[2]["value"], two()["subjects"]);
        let (_folder, cx, written) = serve(Value::Null);
        assert!(put_back(&cx, &undone).await.unwrap().proof.unwrap().is_verified());
        let (request, made) = written.lock().unwrap().pop().unwrap();
        assert!(request.starts_with("POST") && made["metadata"].get("uid").is_none(), "{request} {made}");
        now["metadata"]["uid"] = json!("other");
        let (_folder, cx, written) = serve(now);
        assert_eq!(put_back(&cx, &undone).await.unwrap_err().fault, Fault::Refused);
        assert!(written.lock().unwrap().is_empty());
    }
}
