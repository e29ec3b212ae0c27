//! Objects as the server sent them: typed round trips would drop fields that they do not know, and evidence may not.

use http::Request;
use kube::Client;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Fault, Problem};

/// At most this many items of one list are read; the answer says when there were more.
const MAX_ITEMS: usize = 50_000;

/// GETs one path.
pub async fn get(client: &Client, path: &str) -> Result<Value, Problem> {
    let request = Request::get(path).body(Vec::new()).map_err(|e| Problem::internal(format!("{path}: {e}")))?;
    Ok(client.request(request).await?)
}

/// GETs a whole list by pages of 500 and hands over each page: memory is bounded by one page. Whether there was more than
/// the cap.
pub async fn pages(client: &Client, path: &str, mut page: impl FnMut(Vec<Value>)) -> Result<bool, Problem> {
    let mut next = String::new();
    let mut seen = 0;
    loop {
        let join = if path.contains('?') { '&' } else { '?' };
        let from = if next.is_empty() { String::new() } else { format!("&continue={next}") };
        let mut found = get(client, &format!("{path}{join}limit=500{from}")).await?;
        next = found["metadata"]["continue"].as_str().unwrap_or_default().to_string();
        if let Value::Array(items) = found["items"].take() {
            seen += items.len();
            page(items);
        }
        if next.is_empty() || seen >= MAX_ITEMS {
            return Ok(!next.is_empty());
        }
    }
}

/// GETs a whole list by pages of 500. `path` may have a query. The items, and whether there were more than the cap.
pub async fn list(client: &Client, path: impl AsRef<str>) -> Result<(Vec<Value>, bool), Problem> {
    let path = path.as_ref();
    let mut items = Vec::new();
    let mut next = String::new();
    loop {
        let join = if path.contains('?') { '&' } else { '?' };
        let from = if next.is_empty() { String::new() } else { format!("&continue={next}") };
        let mut page = get(client, &format!("{path}{join}limit=500{from}")).await?;
        if let Some(found) = page["items"].as_array_mut() {
            items.append(found);
        }
        next = page["metadata"]["continue"].as_str().unwrap_or_default().to_string();
        if next.is_empty() || items.len() >= MAX_ITEMS {
            return Ok((items, !next.is_empty()));
        }
    }
}

/// One page of a list.
#[derive(Deserialize)]
struct Page<T> {
    #[serde(default = "Vec::new")]
    items: Vec<T>,
    #[serde(default)]
    metadata: Continue,
}

#[derive(Deserialize, Default)]
struct Continue {
    #[serde(default, rename = "continue")]
    token: Option<String>,
}

/// GETs a list by pages of `limit` and hands on each item: no more than one page is held at a time. `path` may have a
/// query. Errors: a list that expired between two pages (410) is [`Fault::Transient`]: begin again.
pub async fn each<T: DeserializeOwned + 'static>(
    client: &Client,
    path: &str,
    limit: usize,
    mut take: impl FnMut(T),
) -> Result<(), Problem> {
    let join = if path.contains('?') { '&' } else { '?' };
    let mut from = String::new();
    loop {
        let uri = format!("{path}{join}limit={limit}{from}");
        let request = Request::get(&uri).body(Vec::new()).map_err(|e| Problem::internal(format!("{path}: {e}")))?;
        let page: Page<T> = match client.request(request).await {
            Ok(page) => page,
            Err(kube::Error::Api(status)) if status.code == 410 => {
                return Err(Problem::new(Fault::Transient, format!("the list of {path} expired between two pages")));
            }
            Err(error) => return Err(error.into()),
        };
        page.items.into_iter().for_each(&mut take);
        match page.metadata.token.filter(|t| !t.is_empty()) {
            Some(token) => from = format!("&continue={token}"),
            None => return Ok(()),
        }
    }
}
