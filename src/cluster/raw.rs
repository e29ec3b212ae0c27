//! Objects as the server sent them: typed round trips would drop fields that they do not know, and evidence may not.

use http::Request;
use kube::Client;
use serde_json::Value;

use super::Problem;

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
